# What the scripts that measure have in common: they source it. missed is 1 when a
# bar was missed.
missed=0

# calc EXPRESSION... computes.
calc() { awk "BEGIN { print $* }" </dev/null; }

# is CONDITION... is a comparison of numbers.
is() { awk "BEGIN { exit !($*) }" </dev/null; }

# report WHAT OURS PEER RATIO CONDITION BAR prints a figure. The condition, if
# there is one, is the bar with numbers in it.
report() {
	local verdict=-
	if [[ -n $5 ]]; then
		verdict=met
		if ! is "$5"; then
			verdict=MISSED
			missed=1
		fi
	fi
	printf '%-52s  %14s  %24s  %10s  %-28s  %s\n' "$1" "$2" "$3" "$4" "$6" "$verdict"
}
