# shellcheck shell=bash
# For suites that are shell scripts: named tests that say what commands must print.
#
#     . /suite/lib.sh
#     t 'a pipeline keeps every status' <<'END'
#     true | false | true
#     echo "${PIPESTATUS[@]}"
#     ---
#     0 1 0
#     END
#
# The commands run by bash in an empty directory of their own, without input, within 200 s. What
# they print, to standard output or standard error, must be what is below the line ---, and they
# must end with 0.

t() {
    local name=$1 text commands expected got dir status
    text=$(cat)
    commands=${text%%$'\n---'*}
    expected=${text#*$'\n---'}
    expected=${expected#$'\n'}
    dir=$(mktemp -d /work/t.XXXXXX)
    got=$(cd "$dir" && timeout --kill-after=5 200 bash -c "$commands" 2>&1 </dev/null)
    status=$?
    rm -rf "$dir"
    report "$name" "$status" "$expected" "$got"
}

# Reports a test by what it ended with and what it printed.
report() {
    local name=$1 status=$2 expected=$3 got=$4
    if [ "$status" = 0 ] && [ "$got" = "$expected" ]; then
        echo "ok $name" >>/results/tests
    else
        echo "failed $name" >>/results/tests
        printf -- '--- %s: ended with %s\n' "$name" "$status"
        diff <(printf '%s\n' "$expected") <(printf '%s\n' "$got") || true
    fi
}
