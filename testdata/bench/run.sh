#!/usr/bin/env bash
# run.sh [ROW...] measures whole commands beside their peers, in one run on one
# machine, and prints for each figure ours, the peer's, the ratio, the bar and
# whether it is met. Without ROW it runs all:
#
#	one     one certificate, beside step, openssl and mkcert
#	batch   BATCH certificates, beside a loop that only makes keys and signs
#	crl     the list of N revoked certificates, beside openssl ca -gencrl
#	revoke  one more revocation, beside openssl ca -revoke and -gencrl
#	read    showing and looking up in that list, beside x509.ParseRevocationList
#	list    an inventory of N certificates
#	start   --version and --help, beside a program that does nothing
#	size    the release binary
#	probe   an nginx that requires certificates, beside openssl s_client, curl
#	        and testssl.sh
#
# It needs Go, and Debian with root or sudo where a program is missing: hyperfine,
# time, nginx, curl and testssl.sh come from Debian, mkcert and step from the Go
# module proxy (PEERS says which: "openssl mkcert step testssl"). N, BATCH and RUNS
# change the sizes; a short form is N=2000 BATCH=500 RUNS=3 PEERS=openssl. MUTUAL
# names a binary to take instead of building one. It works in a temporary directory, which a full run
# fills with up to 12 GB, and removes it.
#
# It ends with 0 when everything was measured, whether or not the bars are met,
# and with 3 when one is missed and STRICT=1.
set -euo pipefail
exec </dev/null
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
source "$root/testdata/bench/report.sh"
all="one batch crl revoke read list start size probe"

: "${N:=1000000}" "${BATCH:=100000}" "${RUNS:=10}" "${PEERS:=openssl mkcert step testssl}" "${STRICT:=0}"
mkcert=filippo.io/mkcert@v1.4.4
step=github.com/smallstep/cli/cmd/step@v0.21.0

export CGO_ENABLED=0 PATH="$PATH:/usr/sbin:/sbin"
unset MUTUAL_PKI MUTUAL_PASSPHRASE
tmp=$(mktemp -d "${TMPDIR:-/tmp}/mutual-bench.XXXXXX")
server="" # the process of the nginx that we started
cleanup() {
	[[ -z $server ]] || kill "$server"
	rm -rf "$tmp"
}
trap cleanup EXIT

die() {
	echo "run.sh: $*" >&2
	exit 1
}

# seconds, megabytes and times write a figure for a person.
seconds() { awk -v s="$1" 'BEGIN { if (s < 1) printf "%.2f ms", s * 1000; else printf "%.2f s", s }' </dev/null; }
megabytes() { awk -v k="$1" 'BEGIN { printf "%.0f MB", k * 1024 / 1e6 }' </dev/null; }
times() { awk -v r="$1" 'BEGIN { printf "%.3g", r }' </dev/null; }

# number TEXT is the text if it is a number above zero.
number() {
	[[ $1 =~ ^[0-9]+(\.[0-9]+)?(e-?[0-9]+)?$ ]] && is "$1 > 0" || die "no figure: '$1'"
	echo "$1"
}

# median [HYPERFINE-FLAG...] COMMAND is how long a command takes, in seconds.
median() {
	hyperfine -N --style none --warmup 2 --runs "$RUNS" --export-json "$tmp/times" "$@" >"$tmp/hyperfine" 2>&1 ||
		{ cat "$tmp/hyperfine" >&2; die "measuring: $*"; }
	number "$(sed -n 's/.*"median": *\([0-9.e-]*\).*/\1/p' "$tmp/times")"
}

# measure COMMAND... runs a command once, and leaves its seconds in took and
# its peak of memory, in kB, in peak.
measure() {
	/usr/bin/time -o "$tmp/time" -f '%e %M' "$@" >"$tmp/stdout" 2>"$tmp/stderr" ||
		{ tail -n 5 "$tmp/stderr" >&2; die "measuring: $*"; }
	read -r took peak <<<"$(tail -n 1 "$tmp/time")"
	took=$(calc "$took + 0.005") # of hundredths, the middle
	peak=$(number "$peak")
}

# measure_thrice is measure three times: the median of the seconds, and the
# highest peak.
measure_thrice() {
	local all="" highest=0 i
	for i in 1 2 3; do
		measure "$@"
		all+="$took"$'\n'
		[[ $peak -lt $highest ]] || highest=$peak
	done
	took=$(sort -g <<<"${all%$'\n'}" | sed -n 2p) peak=$highest
}

as_root() {
	if [[ $(id -u) == 0 ]]; then "$@"; else sudo -n "$@"; fi
}

# install_programs ROWS gets what is not there and the rows need.
install_programs() {
	local missing=()
	command -v hyperfine >/dev/null || missing+=(hyperfine)
	[[ -x /usr/bin/time ]] || missing+=(time)
	command -v openssl >/dev/null || missing+=(openssl)
	if [[ " $1 " == *" probe "* ]]; then
		command -v nginx >/dev/null || missing+=(nginx-light)
		command -v curl >/dev/null || missing+=(curl)
		[[ " $PEERS " != *" testssl "* ]] || command -v testssl >/dev/null || missing+=(testssl.sh)
	fi
	if [[ ${#missing[@]} != 0 ]]; then
		as_root env DEBIAN_FRONTEND=noninteractive sh -c "apt-get -qq update && apt-get -qq -y install --no-install-recommends ${missing[*]}" >"$tmp/apt" 2>&1 ||
			{ cat "$tmp/apt" >&2; die "installing ${missing[*]}"; }
	fi
}

# peer NAME MODULE builds a peer unless it is there or not asked for.
peer() {
	[[ " $PEERS " == *" $1 "* ]] || return 1
	if [[ ! -x $tmp/bin/$1 ]]; then
		GOBIN=$tmp/bin GOFLAGS=-mod=mod go install -trimpath -ldflags '-s -w' "$2" >"$tmp/install" 2>&1 ||
			{ cat "$tmp/install" >&2; die "building $2"; }
	fi
}

build() {
	mkdir -p "$tmp/bin"
	if [[ -n ${MUTUAL:-} ]]; then
		cp "$MUTUAL" "$tmp/bin/mutual"
	else
		go -C "$root" build -trimpath -tags urfave_cli_no_docs -ldflags '-s -w' -o "$tmp/bin/mutual" .
	fi
	go -C "$root" build -trimpath -o "$tmp/bin/loop" ./testdata/bench/loop
	mutual=$tmp/bin/mutual
}

machine() {
	echo "processor  $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores, load $(cut -d' ' -f1 /proc/loadavg)"
	echo "system     $(uname -sr), $(go env GOVERSION), $(openssl version | cut -d' ' -f1-2), temporary files on $(stat -f -c %T "$tmp")"
	echo "mutual     $("$mutual" --version)"
	echo "sizes      N=$N BATCH=$BATCH RUNS=$RUNS"
	printf '\n%-52s  %14s  %24s  %10s  %-28s\n' FIGURE MUTUAL PEER RATIO BAR
}

# need SIZE ends the run where the disk has less room.
need() {
	local room
	room=$(df --output=avail -B1 "$tmp" | tail -n 1)
	is "$room > $1" || die "$tmp has $room octets of room, and this takes about $1"
}

# rows COUNT NAME writes the CSV of a batch.
rows() { awk -v n="$1" -v name="$2" 'BEGIN { print "name"; for (i = 1; i <= n; i++) printf "%s-%07d\n", name, i }' </dev/null; }

# big_pki makes, once, a PKI with N certificates named dev-, all revoked and in
# its list, and some that are valid.
big_pki() {
	big=$tmp/big
	[[ ! -d $big ]] || return 0
	local i
	need "$((N * 8000 + 1000000000))"
	"$mutual" init --pki "$big" --name Bench >/dev/null
	rows "$N" dev >"$tmp/dev.csv"
	"$mutual" issue client --pki "$big" --batch "$tmp/dev.csv" --tar - >/dev/null 2>"$tmp/stderr" || die "the batch: $(tail -n 1 "$tmp/stderr")"
	for i in $(seq 6); do
		"$mutual" issue client "extra-$i" --pki "$big" --out "$tmp/extra" >/dev/null
	done
	"$mutual" revoke --pki "$big" --name 'dev-*' >/dev/null 2>"$tmp/stderr" || die "the revocation: $(tail -n 1 "$tmp/stderr")"
}

# openssl_ca makes, once, what openssl ca needs for the list that the big PKI
# has: its index has the same serials, times and reasons.
openssl_ca() {
	ca=$tmp/openssl-ca
	[[ ! -d $ca ]] || return 0
	mkdir "$ca"
	cat >"$ca/cnf" <<-END
		[ca]
		default_ca = bench
		[bench]
		database = $ca/index.txt
		crlnumber = $ca/number
		serial = $ca/serial
		new_certs_dir = $ca
		certificate = $big/issuing.crt
		private_key = $big/issuing.key
		default_md = sha256
		default_crl_days = 30
		policy = any
		[any]
		commonName = supplied
	END
	echo 01 >"$ca/number"
	echo "unique_subject = no" >"$ca/index.txt.attr"
	openssl crl -inform DER -in "$big/crl/issuing.crl" -noout -text | awk '
		function put() { if (serial != "") printf "R\t301231235959Z\t%s%s\t%s\tunknown\t/CN=dev\n", date, reason, serial }
		BEGIN { split("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec", names); for (i in names) month[names[i]] = i }
		/^ *Serial Number:/ { put(); serial = $3; reason = "" }
		/^ *Revocation Date:/ { split($5, clock, ":"); date = sprintf("%02d%02d%02d%s%s%sZ", $6 % 100, month[$3], $4, clock[1], clock[2], clock[3]) }
		/CRL Reason Code/ { getline; gsub(/^ +| +$/, ""); gsub(/ /, ""); reason = "," tolower(substr($0, 1, 1)) substr($0, 2) }
		END { put() }' >"$ca/index.txt"
	[[ $(wc -l <"$ca/index.txt") == "$N" ]] || die "the index has $(wc -l <"$ca/index.txt") lines for $N revoked"
}

row_one() {
	local dir=$tmp/one ours theirs
	mkdir -p "$dir/out"
	"$mutual" init --pki "$dir/pki" --name Bench >/dev/null
	ours=$(median --prepare "sh -c 'rm -f $dir/out/*'" "$mutual issue client bench --pki $dir/pki --out $dir/out")
	printf 'extendedKeyUsage=clientAuth\nkeyUsage=digitalSignature\n' >"$dir/ext"
	cat >"$dir/openssl" <<-END
		#!/bin/sh -e
		openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -keyout $dir/out/o.key -subj /CN=bench -out $dir/out/o.csr
		exec openssl x509 -req -in $dir/out/o.csr -CA $dir/pki/issuing.crt -CAkey $dir/pki/issuing.key -days 90 -extfile $dir/ext -out $dir/out/o.crt
	END
	chmod +x "$dir/openssl"
	theirs=$(median "$dir/openssl")
	report "one certificate, beside openssl req + x509" "$(seconds "$ours")" "$(seconds "$theirs")" "$(times "$(calc "$ours / $theirs")")" "$ours * 3 <= $theirs" "at most a third"
	if peer step "$step"; then
		theirs=$(median "$tmp/bin/step certificate create bench $dir/out/s.crt $dir/out/s.key --ca $dir/pki/issuing.crt --ca-key $dir/pki/issuing.key --no-password --insecure --not-after 2160h --force")
		report "one certificate, beside step" "$(seconds "$ours")" "$(seconds "$theirs")" "$(times "$(calc "$ours / $theirs")")" "$ours * 2 <= $theirs" "at most half"
	fi
	if peer mkcert "$mkcert"; then
		mkdir "$dir/mkcert"
		export CAROOT=$dir/mkcert
		theirs=$(median "$tmp/bin/mkcert -ecdsa -client -cert-file $dir/out/m.crt -key-file $dir/out/m.key bench")
		report "one certificate, beside mkcert" "$(seconds "$ours")" "$(seconds "$theirs")" "$(times "$(calc "$ours / $theirs")")" "" "-"
	fi
}

row_batch() {
	local dir=$tmp/batch loop form target bar
	need "$((BATCH * 20000 + 1000000000))"
	mkdir "$dir"
	rows "$BATCH" dev >"$dir/rows.csv"
	loop=$(number "$("$tmp/bin/loop" -n "$BATCH")")
	for form in tar directory; do
		"$mutual" init --pki "$dir/$form" --name Bench >/dev/null
		case $form in
		tar) target=(--tar "$dir/out.tar") bar=0.4 ;;
		directory) target=(--out "$dir/out") bar=0.2 ;;
		esac
		measure "$mutual" issue client --pki "$dir/$form" --batch "$dir/rows.csv" "${target[@]}"
		[[ $(wc -l <"$tmp/stdout") -ge $BATCH ]] || die "the batch printed $(wc -l <"$tmp/stdout") lines for $BATCH certificates"
		report "batch of $BATCH, $form: rate beside the loop" "$(calc "int($BATCH / $took)")/s" "$(calc "int($BATCH / $loop)")/s" "$(times "$(calc "$loop / $took")")" "$loop >= $bar * $took" "at least $bar"
		report "batch of $BATCH, $form: memory" "$(megabytes "$peak")" - - "$peak * 1024 < 150e6" "under 150 MB"
	done
	rm -rf "$dir"
}

row_crl() {
	local ours ours_peak
	big_pki
	openssl_ca
	measure_thrice "$mutual" crl refresh --pki "$big"
	ours=$took ours_peak=$peak
	measure_thrice openssl ca -config "$ca/cnf" -gencrl -out "$ca/crl.pem"
	report "CRL of $N, beside openssl ca -gencrl" "$(seconds "$ours")" "$(seconds "$took")" "$(times "$(calc "$took / $ours")")" "$took >= 10 * $ours" "at least 10 times faster"
	report "CRL of $N: memory" "$(megabytes "$ours_peak")" "$(megabytes "$peak")" - "$ours_peak * 1024 <= 250e6" "at most 250 MB"
}

row_revoke() {
	local ours="" ours_peak=0 theirs i
	big_pki
	openssl_ca
	for i in 1 2 3; do
		measure "$mutual" revoke "extra-$i" --pki "$big"
		ours+="$took"$'\n'
		[[ $peak -lt $ours_peak ]] || ours_peak=$peak
	done
	ours=$(sort -g <<<"${ours%$'\n'}" | sed -n 2p)
	measure openssl ca -config "$ca/cnf" -revoke "$tmp/extra/extra-6.crt"
	theirs=$took
	measure openssl ca -config "$ca/cnf" -gencrl -out "$ca/crl.pem"
	theirs=$(calc "$theirs + $took")
	report "one revoked beside $N, published" "$(seconds "$ours")" "$(seconds "$theirs")" "$(times "$(calc "$theirs / $ours")")" "$theirs >= 50 * $ours" "at least 50 times faster"
	report "one revoked beside $N: memory" "$(megabytes "$ours_peak")" "$(megabytes "$peak")" - "$ours_peak * 1024 <= 200e6" "at most 200 MB"
}

row_read() {
	big_pki
	measure "$mutual" crl show "$big/crl/issuing.crl"
	local ours=$took ours_peak=$peak
	measure openssl crl -inform DER -in "$big/crl/issuing.crl" -noout -text
	report "crl show of $N, beside openssl crl -text" "$(seconds "$ours")" "$(seconds "$took")" "$(times "$(calc "$took / $ours")")" "" "-"
	report "crl show of $N: memory" "$(megabytes "$ours_peak")" "$(megabytes "$peak")" - "" "-"
	measure "$mutual" verify "$tmp/extra/extra-5.crt" --ca "$big/ca.crt" --crl "$big/crl/chain.pem"
	report "verify with that list" "$(seconds "$took")" - - "" "-"
	report "verify with that list: memory" "$(megabytes "$peak")" - - "" "-"
	if [[ $N -lt 1000000 ]]; then
		echo "(the benchmarks of pki/crl beside x509.ParseRevocationList have a million entries: left out)"
		return
	fi
	go -C "$root" test -run '^$' -bench BenchmarkMillion -benchtime 3x -benchmem ./pki/crl >"$tmp/go" || die "$(cat "$tmp/go")"
	beside_x509 create "making it, in memory, beside CreateRevocationList" 0
	beside_x509 splice "making it of the last one, in memory" 0
	beside_x509 parse "loading it, beside x509.ParseRevocationList" 5
	beside_x509 parse-and-verify "loading it and checking its signature" 5
	report "a lookup in it: allocations" "$(benchmark lookup allocs/op)" - - "$(benchmark lookup allocs/op) == 0" "none"
}

# benchmark NAME UNIT is a figure that BenchmarkMillion printed.
benchmark() {
	local figure
	figure=$(awk -v name="BenchmarkMillion/$1" -v unit="$2" '
		{ sub(/-[0-9]+$/, "", $1) }
		$1 == name { for (i = 2; i < NF; i++) if ($(i + 1) == unit) print $i }' "$tmp/go")
	[[ $figure =~ ^[0-9.]+$ ]] || die "$1 has no $2: $(cat "$tmp/go")"
	echo "$figure"
}

# beside_x509 NAME WHAT BAR reports a benchmark that measures ours and theirs.
beside_x509() {
	local ours ratio
	ours=$(calc "$(benchmark "$1" ns/op) / 1e9")
	ratio=$(benchmark "$1" ×faster-than-x509)
	if [[ $3 == 0 ]]; then
		report "$2" "$(seconds "$ours")" "$(seconds "$(calc "$ours * $ratio")")" "$(times "$ratio")" "" "-"
	else
		report "$2" "$(seconds "$ours")" "$(seconds "$(calc "$ours * $ratio")")" "$(times "$ratio")" "$ratio >= $3" "at least $3 times faster"
	fi
}

row_list() {
	local what ours
	big_pki
	for what in "list" "list --all" "list --expiring 30d" "list --name dev-0000*"; do
		printf '#!/bin/sh\n%s %s --pki %s | head -n 24\n' "$mutual" "${what/dev-0000\*/\'dev-0000*\'}" "$big" >"$tmp/screen"
		chmod +x "$tmp/screen"
		ours=$(median "$tmp/screen")
		report "first screen of $what, $N certificates" "$(seconds "$ours")" - - "$ours < 0.1" "under 100 ms"
	done
	for what in "show extra-5" "show dev-0000001" "status"; do
		ours=$(median --ignore-failure "$mutual $what --pki $big")
		report "$what, $N certificates" "$(seconds "$ours")" - - "$ours < 0.1" "under 100 ms"
	done
	measure "$mutual" list --all --json --pki "$big"
	[[ $(wc -c <"$tmp/stdout") -gt $((N * 100)) ]] || die "list --all --json printed $(wc -c <"$tmp/stdout") octets"
	report "list --all --json of $N: memory" "$(megabytes "$peak")" - - "$peak * 1024 < 100e6" "flat: under 100 MB"
}

row_start() {
	local dir=$tmp/start empty flag ours
	mkdir "$dir"
	printf 'package main\n\nfunc main() {}\n' >"$dir/main.go"
	go build -trimpath -ldflags '-s -w' -o "$dir/empty" "$dir/main.go"
	for flag in --version --help; do
		RUNS=$((RUNS * 20))
		empty=$(median "$dir/empty")
		ours=$(median "$mutual $flag")
		RUNS=$((RUNS / 20))
		report "mutual $flag, beside an empty Go program" "$(seconds "$ours")" "$(seconds "$empty")" "$(times "$(calc "$ours / $empty")")" "$ours < 4 * $empty" "under 4 times"
	done
}

row_size() {
	local ours theirs=- ratio=-
	ours=$(stat -c %s "$mutual")
	if peer step "$step"; then
		theirs=$(stat -c %s "$tmp/bin/step")
		ratio=$(times "$(calc "$ours / $theirs")")
		theirs=$(calc "$theirs / 1e6 \" MB\"")
	fi
	report "the stripped binary, beside step" "$(calc "$ours / 1e6 \" MB\"")" "$theirs" "$ratio" "$ours < 20e6" "under 20 MB"
}

# start_nginx DIR PORT runs an nginx that lets in who has a certificate of the PKI
# in DIR.
start_nginx() {
	local i
	cat >"$1/nginx.conf" <<-END
		daemon off;
		master_process off;
		pid nginx.pid;
		events {}
		http {
			access_log off;
			client_body_temp_path temp; proxy_temp_path temp; fastcgi_temp_path temp; uwsgi_temp_path temp; scgi_temp_path temp;
			server {
				listen 127.0.0.1:$2 ssl;
				ssl_certificate $1/localhost.crt;
				ssl_certificate_key $1/localhost.key;
				ssl_client_certificate $1/pki/ca.crt;
				ssl_protocols TLSv1.2 TLSv1.3;
				ssl_verify_client on;
				location / { return 200 hello; }
			}
		}
	END
	nginx -p "$1" -c "$1/nginx.conf" -e "$1/nginx.log" &
	server=$!
	for i in {1..100}; do
		if curl -sk -o "$tmp/stdout" "https://127.0.0.1:$2/"; then return; fi
		sleep 0.05
	done
	cat "$1/nginx.log" >&2
	die "nginx does not answer"
}

row_probe() {
	local dir=$tmp/probe port=$((20000 + RANDOM % 10000)) ours theirs targets=$((N < 1000 ? N : 1000)) good
	mkdir "$dir"
	"$mutual" init --pki "$dir/pki" --name Bench >/dev/null
	"$mutual" issue server localhost --pki "$dir/pki" --out "$dir" >/dev/null
	"$mutual" issue client alice --pki "$dir/pki" --out "$dir" >/dev/null
	start_nginx "$dir" "$port"
	good="--cert $dir/alice.crt --key $dir/alice.key"
	"$mutual" probe "localhost:$port" --ca "$dir/pki/root.crt" $good --json >"$tmp/stdout"
	[[ $(grep -c '"offered": "yes"' "$tmp/stdout") == 2 ]] || die "nginx does not offer both versions of TLS"
	awk '/"ms":/ { n++; sum += $2 } END { printf "probe makes %d connections, of %.1f ms on average\n", n, sum / n }' "$tmp/stdout"
	ours=$(median "$mutual probe localhost:$port --ca $dir/pki/root.crt $good")
	report "probe, level check" "$(seconds "$ours")" - - "$ours < 0.5" "under 0.5 s"
	theirs=$(median "openssl s_client -connect localhost:$port -cert $dir/alice.crt -key $dir/alice.key -CAfile $dir/pki/ca.crt")
	report "probe, level check, beside s_client" "$(seconds "$ours")" "$(seconds "$theirs")" "$(times "$(calc "$ours / $theirs")")" "" "one of its connections"
	theirs=$(median "curl -s $good --cacert $dir/pki/root.crt https://localhost:$port/")
	report "probe, level check, beside curl" "$(seconds "$ours")" "$(seconds "$theirs")" "$(times "$(calc "$ours / $theirs")")" "" "one of its requests"
	if [[ " $PEERS " == *" testssl "* ]]; then
		measure testssl --quiet --warnings batch --server-defaults "localhost:$port"
		report "probe, level check, beside testssl -S" "$(seconds "$ours")" "$(seconds "$took")" "$(times "$(calc "$ours / $took")")" "" "-"
	fi
	awk -v n="$targets" -v p="$port" 'BEGIN { for (i = 0; i < n; i++) print "127.0.0.1:" p }' </dev/null >"$dir/targets"
	measure "$mutual" probe "@$dir/targets" --level observe --parallel 64 --json
	[[ $(grep -c '"mode": "REQUIRED_UNCONFIRMED",' "$tmp/stdout") -ge $targets ]] || die "not all of the $targets targets were probed"
	report "probe, $targets targets, level observe" "$(seconds "$took")" - - "$took < 60" "under a minute"
	report "probe, $targets targets: memory" "$(megabytes "$peak")" - - "$peak * 1024 < 100e6" "under 100 MB"
	kill "$server"
	server=""
}

for row in ${*:-$all}; do
	[[ " $all " == *" $row "* ]] || die "there is no row $row; there are $all"
done
install_programs "${*:-$all}"
build
machine
for row in ${*:-$all}; do
	"row_$row"
done
if [[ $missed == 1 && $STRICT == 1 ]]; then exit 3; fi
