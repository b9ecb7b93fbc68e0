#!/usr/bin/env bash
# gate.sh [ROW...] measures mutual gate beside other proxies that ask for client
# certificates, in one run on one machine, and prints for each figure ours, the
# peer's, the ratio, the bar and whether it is met. Without ROW it runs all:
#
#	handshakes  a new connection for each request, beside nginx, HAProxy and a
#	            bare Go reverse proxy
#	requests    one connection for all requests, beside a bare Go reverse proxy,
#	            Caddy and nginx
#	tcp         the same through gate --tcp, beside a bare copy from TLS to TCP
#	idle        the memory of a connection that waits, beside a bare Go reverse
#	            proxy, nginx and HAProxy
#	revoke      from the commit of a revocation until the client is out, beside
#	            nginx and HAProxy
#
# All of them listen on loopback, have the same upstream, certificates, CAs and
# lists, speak TLS 1.3 with X25519, and resume no session. The gate writes its
# access log to a file; no peer writes any. Clients and upstream run on the same
# cores. What is compared takes turns of half a second, DURATION seconds each, and
# all of that ROUNDS times; medians count.
#
# It needs Go, and nginx, haproxy and caddy as Debian has them: a row without its
# peer is left out, and it says so. DURATION, ROUNDS, PARALLEL (connections that
# make load), CONNS (streams that are open while REVOKES certificates are revoked
# one after the other; twice as many connections wait), PEER_REVOKES and LINGER
# (seconds after which streams of peers are counted) change the sizes; a short form
# is CONNS=20 REVOKES=5 DURATION=0.5. MUTUAL names a binary to take instead of
# building one. It works in a temporary directory, and removes it.
#
# It ends with 0 when everything was measured, whether or not the bars are met,
# and with 3 when one is missed and STRICT=1.
set -euo pipefail
exec </dev/null
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
source "$root/testdata/bench/report.sh"
all="handshakes requests tcp idle revoke"

: "${DURATION:=4}" "${PARALLEL:=16}" "${CONNS:=1000}" "${REVOKES:=200}" "${STRICT:=0}"
if is "$DURATION < 1"; then
	: "${ROUNDS:=1}" "${PEER_REVOKES:=1}" "${LINGER:=0.3}"
else
	: "${ROUNDS:=3}" "${PEER_REVOKES:=3}" "${LINGER:=2}"
fi

export CGO_ENABLED=0 PATH="$PATH:/usr/sbin:/sbin"
unset MUTUAL_PKI MUTUAL_PASSPHRASE
ulimit -n 20000 2>/dev/null || ulimit -n "$(ulimit -Hn)"
tmp=$(mktemp -d "${TMPDIR:-/tmp}/mutual-gate.XXXXXX")
declare -A pid=() # of what we started and have not ended
declare -A at=()  # where it listens
cleanup() {
	end "${!pid[@]}"
	rm -rf "$tmp"
}
trap cleanup EXIT

die() {
	echo "gate.sh: $*" >&2
	exit 1
}

ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.3g", a / b }' </dev/null; }
kilobytes() { awk -v b="$1" 'BEGIN { printf "%.1f kB", b / 1000 }' </dev/null; }
milliseconds() { awk -v m="$1" 'BEGIN { printf "%.2f ms", m }' </dev/null; }

have() { command -v "$1" >/dev/null; }

build() {
	mkdir -p "$tmp/bin"
	if [[ -n ${MUTUAL:-} ]]; then
		cp "$MUTUAL" "$tmp/bin/mutual"
	else
		go -C "$root" build -trimpath -tags urfave_cli_no_docs -ldflags '-s -w' -o "$tmp/bin/mutual" .
	fi
	go -C "$root" build -trimpath -o "$tmp/bin/gateload" ./testdata/bench/gateload
	mutual=$tmp/bin/mutual
	gateload=$tmp/bin/gateload
}

machine() {
	echo "processor  $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores, load $(cut -d' ' -f1 /proc/loadavg)"
	echo "system     $(uname -sr), $(go env GOVERSION), temporary files on $(stat -f -c %T "$tmp")"
	echo "mutual     $("$mutual" --version)"
	if have nginx; then echo "nginx      $(nginx -v 2>&1 | sed 's/.*nginx.//')"; fi
	if have haproxy; then echo "HAProxy    $(haproxy -v | sed -n 's/^HAProxy version \([^ ]*\).*/\1/p')"; fi
	if have caddy; then echo "Caddy      $(XDG_CONFIG_HOME=$tmp XDG_DATA_HOME=$tmp caddy version)"; fi
	echo "sizes      DURATION=$DURATION ROUNDS=$ROUNDS PARALLEL=$PARALLEL CONNS=$CONNS REVOKES=$REVOKES PEER_REVOKES=$PEER_REVOKES LINGER=$LINGER"
	printf '\n%-52s  %14s  %24s  %10s  %-28s\n' FIGURE MUTUAL PEER RATIO BAR
}

# left_out PEER says what is not measured.
left_out() { echo "($1 is not installed: left out)"; }

# make_pki makes a PKI, the certificate of all servers, and clients.
make_pki() {
	pki=$tmp/pki
	"$mutual" init --pki "$pki" --name Bench >/dev/null
	"$mutual" issue server localhost --pki "$pki" --out "$tmp" >/dev/null
	cat "$tmp/localhost.crt" "$tmp/localhost.key" >"$tmp/localhost.pem"
	clients load 64
}

# clients NAME COUNT issues certificates into the directory of that name.
clients() {
	awk -v n="$2" -v name="$1" 'BEGIN { print "name"; for (i = 1; i <= n; i++) printf "%s-%05d\n", name, i }' </dev/null >"$tmp/$1.csv"
	"$mutual" issue client --quiet --pki "$pki" --batch "$tmp/$1.csv" --out "$tmp/$1" >/dev/null
}

# begin NAME COMMAND... starts a server.
begin() {
	local name=$1
	shift
	"$@" >>"$tmp/$name.log" 2>&1 &
	pid[$name]=$!
}

# end NAME... ends servers that we started.
end() {
	local name
	for name in "$@"; do
		kill "${pid[$name]}" 2>/dev/null || true # it may have ended by itself
	done
	for name in "$@"; do
		for _ in {1..100}; do
			if ! kill -0 "${pid[$name]}" 2>/dev/null; then break; fi
			sleep 0.02
		done
		kill -KILL "${pid[$name]}" 2>/dev/null || true # it has ended, as a rule
		wait "${pid[$name]}" 2>/dev/null || true       # with whatever code
		unset "pid[$name]"
	done
}

# new_port leaves in port a port at which nobody listens.
port=$((20000 + RANDOM % 8000))
new_port() {
	while port=$((port + 1)); (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do :; done
}

# load [FLAG...] WHAT... runs the program that measures.
load() { "$gateload" -clients "$tmp/load" -server "$tmp/localhost.crt" -mutual "$mutual" "$@"; }

# serve NAME... starts servers, and waits until they answer.
serve() {
	local name
	if [[ -z ${pid[upstream]:-} ]]; then
		new_port
		upstream=127.0.0.1:$port
		begin upstream "$gateload" upstream "$upstream"
	fi
	for name in "$@"; do
		new_port
		at[$name]=127.0.0.1:$port
		"serve_$name" "${at[$name]}"
	done
	for name in "$@"; do
		load wait "${at[$name]}" || { tail -n 5 "$tmp/$name.log" >&2; die "$name does not answer as it should"; }
	done
}

serve_gate() {
	begin gate "$mutual" gate --pki "$pki" --state "$tmp/state" --listen "$1" --to "http://$upstream" --allow-all \
		--cert "$tmp/localhost.crt" --key "$tmp/localhost.key" --log "$tmp/access.jsonl" --drain 1ms
}

serve_gate_tcp() {
	begin gate_tcp "$mutual" gate --tcp --pki "$pki" --state "$tmp/state" --listen "$1" --to "$upstream" --allow-all \
		--cert "$tmp/localhost.crt" --key "$tmp/localhost.key" --log "$tmp/access.jsonl" --drain 1ms
}

serve_bare() { begin bare "$gateload" proxy "$1" "$upstream" "$tmp/localhost" "$pki/ca.crt"; }

serve_bare_tcp() { begin bare_tcp "$gateload" pipe "$1" "$upstream" "$tmp/localhost" "$pki/ca.crt"; }

serve_nginx() {
	mkdir -p "$tmp/nginx"
	cat >"$tmp/nginx/conf" <<-END
		daemon off;
		pid nginx.pid;
		worker_processes auto;
		events { worker_connections 8192; }
		http {
			access_log off;
			client_body_temp_path temp; proxy_temp_path temp; fastcgi_temp_path temp; uwsgi_temp_path temp; scgi_temp_path temp;
			keepalive_requests 1000000000;
			upstream api { server $upstream; keepalive 256; keepalive_requests 1000000000; }
			server {
				listen $1 ssl http2 backlog=1024;
				ssl_certificate $tmp/localhost.crt;
				ssl_certificate_key $tmp/localhost.key;
				ssl_protocols TLSv1.2 TLSv1.3;
				ssl_verify_client on;
				ssl_verify_depth 2;
				ssl_client_certificate $pki/ca.crt;
				ssl_crl $pki/crl/chain.pem;
				ssl_session_cache off;
				ssl_session_tickets off;
				location / {
					proxy_pass http://api;
					proxy_http_version 1.1;
					proxy_set_header Connection "";
					proxy_set_header X-Forwarded-For \$remote_addr;
				}
				location /stream { proxy_pass http://api; proxy_http_version 1.1; proxy_buffering off; }
			}
		}
	END
	nginx_command=(nginx -p "$tmp/nginx" -c "$tmp/nginx/conf" -e "$tmp/nginx.log")
	begin nginx "${nginx_command[@]}"
}

serve_haproxy() {
	cat >"$tmp/haproxy.conf" <<-END
		global
			maxconn 8192
			stats socket $tmp/haproxy.sock mode 600 level admin
			tune.ssl.cachesize 0
		defaults
			mode http
			timeout connect 5s
			timeout client 60s
			timeout server 60s
			http-reuse always
		frontend gate
			bind $1 ssl crt $tmp/localhost.pem ca-file $pki/ca.crt crl-file $pki/crl/chain.pem verify required alpn h2,http/1.1 ssl-min-ver TLSv1.2 no-tls-tickets
			option forwardfor
			default_backend api
		backend api
			server api $upstream
	END
	begin haproxy haproxy -db -f "$tmp/haproxy.conf"
}

serve_caddy() {
	cat >"$tmp/caddy.conf" <<-END
		{
			admin off
			auto_https off
		}
		https://localhost:${1##*:} {
			bind 127.0.0.1
			tls $tmp/localhost.crt $tmp/localhost.key {
				client_auth {
					mode require_and_verify
					trusted_ca_cert_file $pki/root.crt
				}
			}
			reverse_proxy $upstream
		}
	END
	begin caddy env XDG_CONFIG_HOME="$tmp" XDG_DATA_HOME="$tmp" caddy run --config "$tmp/caddy.conf" --adapter caddyfile
}

# rounds WHAT NAME... has servers take turns under load, and leaves in rate what
# they do a second, in late the 99th percentile of how long that takes, and in
# spent the time of the processor that it takes them: medians of the rounds.
declare -A rate=() late=() spent=()
rounds() {
	local what=$1 name words=() out i
	shift
	for name in "$@"; do
		words+=("${at[$name]},${pid[$name]}")
		: >"$tmp/figures.$name"
	done
	for _ in $(seq "$ROUNDS"); do
		out=$(load -duration "${DURATION}s" -parallel "$PARALLEL" "$what" "${words[@]}") || die "measuring $what"
		i=0
		for name in "$@"; do
			sed -n "$((i += 1))p" <<<"$out" >>"$tmp/figures.$name"
		done
	done
	for name in "$@"; do
		rate[$name]=$(middle 1 "$tmp/figures.$name")
		late[$name]=$(middle 2 "$tmp/figures.$name")
		spent[$name]=$(middle 3 "$tmp/figures.$name")
	done
}

# middle COLUMN FILE is the median of a column.
middle() { cut -d' ' -f"$1" "$2" | sort -g | sed -n "$(((ROUNDS + 1) / 2))p"; }

# peers NAME... leaves in found those of the programs that are installed.
peers() {
	local name
	found=()
	for name in "$@"; do
		if have "$name"; then found+=("$name"); else left_out "$name"; fi
	done
}

# rates WHAT OURS PEER NAME [BAR] reports a rate beside that of a peer.
rates() {
	local bar=${5:-}
	report "$1, beside $4" "${rate[$2]}/s" "${rate[$3]}/s" "$(ratio "${rate[$2]}" "${rate[$3]}")" \
		"${bar:+${rate[$2]} >= $bar * ${rate[$3]}}" "${bar:+at least $bar}"
}

# times WHAT OURS PEER NAME reports how long it takes: the 99th percentile, and on
# average of the processor.
times() {
	report "$1: p99, beside $4" "$(milliseconds "${late[$2]}")" "$(milliseconds "${late[$3]}")" "$(ratio "${late[$2]}" "${late[$3]}")" "" -
	report "$1: processor, beside $4" "${spent[$2]} us" "${spent[$3]} us" "$(ratio "${spent[$2]}" "${spent[$3]}")" "" -
}

declare -A called=([bare]="a bare ReverseProxy" [bare_tcp]="a bare copy" [nginx]=nginx [haproxy]=HAProxy [caddy]=Caddy)

row_handshakes() {
	local name
	peers nginx haproxy
	serve gate bare "${found[@]}"
	rounds handshakes gate "${found[@]}" bare
	for name in "${found[@]}"; do
		rates "handshakes" gate "$name" "${called[$name]}" 1.1
	done
	rates "handshakes" gate bare "${called[bare]}"
	for name in "${found[@]}" bare; do
		times "handshakes" gate "$name" "${called[$name]}"
	done
	end gate bare "${found[@]}"
}

row_requests() {
	local name
	peers caddy nginx
	serve gate bare "${found[@]}"
	rounds requests gate bare "${found[@]}"
	rates "requests" gate bare "${called[bare]}" 0.85
	for name in "${found[@]}"; do
		case $name in
		caddy) rates "requests" gate caddy Caddy 1 ;;
		*) rates "requests" gate "$name" "${called[$name]}" ;;
		esac
	done
	for name in bare "${found[@]}"; do
		times "requests" gate "$name" "${called[$name]}"
	done
	end gate bare "${found[@]}"
}

row_tcp() {
	serve gate_tcp bare_tcp
	rounds requests gate_tcp bare_tcp
	rates "--tcp: requests" gate_tcp bare_tcp "${called[bare_tcp]}" 0.95
	times "--tcp: requests" gate_tcp bare_tcp "${called[bare_tcp]}"
	end gate_tcp bare_tcp
}

row_idle() {
	local name n=$((CONNS * 2)) ours theirs
	peers nginx haproxy
	serve gate bare "${found[@]}"
	ours=$(load -conns "$n" idle "${at[gate]}" "${pid[gate]}") || die "measuring gate"
	for name in bare "${found[@]}"; do
		theirs=$(load -conns "$n" idle "${at[$name]}" "${pid[$name]}") || die "measuring $name"
		report "$n idle connections: each, beside ${called[$name]}" "$(kilobytes "$ours")" "$(kilobytes "$theirs")" "$(ratio "$ours" "$theirs")" "" -
	done
	end gate bare "${found[@]}"
}

# refusals NAME COMMAND... leaves in refused how a peer that COMMAND tells of the
# list treats who is revoked.
declare -A refused=()
refusals() {
	local name=$1
	shift
	clients "$name" "$PEER_REVOKES"
	refused[$name]=$(load -clients "$tmp/$name" -revokes "$PEER_REVOKES" -linger "${LINGER}s" refusals "$pki" "${at[$name]}" "$pki/crl/chain.pem" "$@") || die "measuring $name"
}

row_revoke() {
	local figures seen bound in_time took name commit told open i
	local parts=(p50 p95 p99 longest)
	peers nginx haproxy
	serve "${found[@]}"
	for name in "${found[@]}"; do # while the list is short: HAProxy takes 16 kB
		case $name in
		nginx) refusals nginx "${nginx_command[@]}" -s reload ;;
		haproxy) refusals haproxy "$tmp/haproxy.sock" ;;
		esac
	done
	end "${found[@]}"
	clients live "$CONNS"
	serve gate
	figures=$(load -clients "$tmp/live" -conns "$CONNS" -revokes "$REVOKES" cuts "$pki" "${at[gate]}") || die "measuring gate"
	read -r seen[0] seen[1] seen[2] seen[3] bound[0] bound[1] bound[2] bound[3] in_time took <<<"$figures"
	for i in 0 1 2 3; do
		report "commit to cut, $CONNS streams: ${parts[i]}" "$(milliseconds "${seen[i]}")" - - "$([[ ${parts[i]} != p99 ]] || echo "${seen[i]} < 10")" \
			"$([[ ${parts[i]} != p99 ]] && echo - || echo "under 10 ms")"
	done
	for i in 0 2; do
		report "the same at most: ${parts[i]}" "$(milliseconds "${bound[i]}")" - - "" -
	done
	report "cut when mutual revoke ends" "$in_time of $REVOKES" - - "" -
	report "mutual revoke: p50" "$(milliseconds "$took")" - - "" -
	for name in "${found[@]}"; do
		read -r commit told open <<<"${refused[$name]}"
		report "commit to refusal of handshakes, ${called[$name]}: p50" - "$(milliseconds "$commit")" - "" -
		report "reload to refusal of handshakes, ${called[$name]}: p50" - "$(milliseconds "$told")" - "" -
		report "streams open $LINGER s later, ${called[$name]}" "0 of $REVOKES" "$open of $PEER_REVOKES" - "" -
	done
	end gate
}

for row in ${*:-$all}; do
	[[ " $all " == *" $row "* ]] || die "there is no row $row; there are $all"
done
[[ $REVOKES -ge 1 && $REVOKES -le $CONNS ]] || die "REVOKES is from 1 to CONNS"
build
make_pki
machine
for row in ${*:-$all}; do
	"row_$row"
done
if [[ $missed == 1 && $STRICT == 1 ]]; then exit 3; fi
