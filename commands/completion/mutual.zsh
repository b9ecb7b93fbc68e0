#compdef mutual
# zsh completion for mutual; save it as _mutual in a directory of $fpath, or
# load it with: source <(mutual completion zsh)

_mutual() {
    local line
    local -a before values texts
    before=("${(@Q)words[2,CURRENT-1]}")
    (( CURRENT > 2 )) || before=()
    for line in "${(@f)$(${(Q)words[1]} __complete -- "${before[@]}" "=${(Q)words[CURRENT]}" 2>/dev/null)}"; do
        [[ -n $line ]] || continue
        values+=("${line%%$'\t'*}")
        texts+=("${line/$'\t'/  -- }")
    done
    if (( ${#values} )); then
        compadd -l -d texts -a -- values
    else
        _files
    fi
}

if [[ ${funcstack[1]} == _mutual ]]; then
    _mutual "$@"
else
    compdef _mutual mutual
fi
