# bash completion for mutual; load it with: source <(mutual completion bash)

_mutual() {
    local i raw word rest=$COMP_LINE trimmed cur prefix='' line breaks
    local -a raws=() words=()
    # Bash has split the line at "=" and ":", too. What stands without a space
    # between is put together again.
    for ((i = 0; i <= COMP_CWORD; i++)); do
        raw=${COMP_WORDS[i]}
        trimmed=${rest#"${rest%%[![:space:]]*}"}
        if [[ $i -gt 0 && $trimmed == "$rest" ]]; then
            raws[${#raws[@]}-1]+=$raw
        else
            raws+=("$raw")
        fi
        rest=${trimmed#"$raw"}
    done
    for word in "${raws[@]:1}"; do
        case $word in
        \"* | \'*) word=${word#[\"\']} word=${word%[\"\']} ;;
        *) word=${word//\\/} ;;
        esac
        words+=("$word")
    done
    i=$((${#words[@]} - 1))
    cur=${words[i]}
    unset "words[$i]"
    # Bash replaces only what stands after the last "=" or ":".
    breaks=${COMP_WORDBREAKS//[^=:]/}
    if [[ -n $breaks && $cur == *[$breaks]* ]]; then
        prefix=${cur%"${cur##*[$breaks]}"}
    fi
    COMPREPLY=()
    while IFS= read -r line; do
        line=${line%%$'\t'*}
        line=${line#"$prefix"}
        if [[ ${raws[${#raws[@]}-1]} != [\"\']* ]]; then
            printf -v line %q "$line"
        fi
        COMPREPLY+=("$line")
    done < <("${COMP_WORDS[0]}" __complete -- ${words[@]+"${words[@]}"} "=$cur" 2>/dev/null)
}

complete -o default -F _mutual mutual
