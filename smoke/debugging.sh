#!/usr/bin/env bash
# The tutorial docs/debugging.md as a new user would follow it: runs its commands and looks for what it says they print.
# Then opens the report in Debian's chromium, which clicks through it, and the capture in Debian's tshark, which must see
# inside the tunnels without being given keys.
#
#   smoke/debugging.sh [--commands | --keep DIRECTORY]
#
# --commands leaves out chromium and tshark. --keep copies report, capture and screenshots there. Without chromium or tshark
# those parts are left out, with a word. Ends with 0 (passed), 77 (neither could be run) or 1.
set -uo pipefail
cd "$(dirname "$0")/.." || exit

keep='' programs=yes
case ${1-} in
    --keep) keep=${2:?--keep needs a directory} ;;
    --commands) programs=no ;;
esac
bin=${RAP_BIN:-.build/debug}
[ -x "$bin/rap-sim" ] || swift build --product rap-sim || exit 1

work=$(mktemp -d -t rap-debugging.XXXXXX)
trap '[ -z "$keep" ] || { mkdir -p "$keep" && cp "$work"/*.html "$work"/*.png "$work"/*.pcapng "$keep/" 2>/dev/null; }; rm -rf "$work"' EXIT
fail() {
    echo "debugging: FAILED: $1" >&2
    [ ! -s "$work/output" ] || tail -n 40 "$work/output" >&2
    exit 1
}

# ---------------------------------------------------------------- files
# What an option names is written, not replaced; a link stands for a device, which a run as root could take away.
ln -s kept.html "$work/link.html"
"$bin/rap-sim" run Scenarios/two-sites.yaml --quiet --report "$work/link.html" >"$work/output" 2>&1 || fail "a run of two-sites"
{ [ -L "$work/link.html" ] && [ -s "$work/kept.html" ]; } || fail "--report replaced a link by a file"
[ ! -c /dev/full ] || ! "$bin/rap-sim" run Scenarios/two-sites.yaml --quiet --report /dev/full >"$work/output" 2>&1 ||
    fail "a report that could not be written went unnoticed"

cp Scenarios/two-sites.yaml "$work/own.yaml"
! "$bin/rap-sim" run "$work/own.yaml" --quiet --report "$work/own.yaml" >"$work/output" 2>&1 ||
    fail "a report took the place of its scenario"
cmp -s Scenarios/two-sites.yaml "$work/own.yaml" || fail "a refused --report changed the scenario"

# ---------------------------------------------------------------- the tutorial's commands
# A block of its shell commands is followed by what they print, of which the lines that stand there must come.
page=docs/debugging.md
commands=0 block='' expected=()
run_command() {
    local line=$1 status=0
    line=${line//rap sim/$bin/rap-sim}
    line=${line//report.html/$work/report.html}
    line=${line//wire.pcapng/$work/wire.pcapng}
    case $line in
        tshark*) [ "$programs" = yes ] || return 1 ;;&
        tshark*) command -v tshark >/dev/null || { echo "  left out, as tshark is not installed: $1" && return 1; } ;;
    esac
    bash -c "$line" >"$work/output" 2>&1 </dev/null || status=$?
    [ "$status" -le 1 ] || fail "this ended with status $status: $1"
    commands=$((commands + 1))
    echo "  ran: $1"
}
judge() {
    local text
    for text in "${expected[@]}"; do
        grep -qF -- "$text" "$work/output" || fail "the tutorial says that this is printed, and it is not: $text"
    done
    expected=()
}
ran=no
while IFS= read -r line; do
    case $block:$line in
        ':```sh') block='commands' ;;
        ':```text') block=text ;;
        'commands:```') block='' ;;
        'text:```')
            [ "$ran" = no ] || judge
            expected=() block=''
            ;;
        commands:rap\ sim* | commands:tshark*) ran=no && run_command "$line" && ran=yes ;;
        text:…*) ;;
        text:*) [ -z "$line" ] || expected+=("$line") ;;
    esac
done <"$page"
[ "$commands" -ge 5 ] || fail "the tutorial has $commands commands only"

if [ "$programs" = no ]; then
    echo "debugging: the tutorial's $commands commands print what it says"
    exit 0
fi

# ---------------------------------------------------------------- the report in a browser
parts=0
if command -v chromium >/dev/null; then
    browser=(timeout 120 chromium --headless --no-sandbox --disable-gpu --user-data-dir="$work/profile" --enable-logging=stderr
        --hide-scrollbars --virtual-time-budget=15000)
    for width in 1440 800 390; do
        "${browser[@]}" --window-size=$width,1000 --dump-dom "file://$work/report.html#selftest" >"$work/dom" 2>"$work/console"
        grep -q 'data-selftest="passed"' "$work/dom" ||
            fail "the report's self-test at $width px: $(grep -o 'data-selftest="[^"]*"' "$work/dom" || echo 'it did not end')"
        ! grep -q 'CONSOLE.*Error' "$work/console" || fail "the console has errors: $(grep CONSOLE "$work/console" | head -3)"
    done
    if [ -n "$keep" ]; then
        for theme in light dark; do
            "${browser[@]}" --window-size=1440,2200 --screenshot="$work/$theme.png" "file://$work/report.html#theme=$theme" 2>/dev/null
            "${browser[@]}" --window-size=390,2600 --screenshot="$work/$theme-narrow.png" "file://$work/report.html#theme=$theme" 2>/dev/null
        done
    fi
    echo "chromium: the report clicks through at 1440, 800 and 390 px, without errors"
    parts=$((parts + 1))
else
    echo "debugging: chromium is not installed; the report was not opened (apt-get install chromium)"
fi

# ---------------------------------------------------------------- the capture in tshark
if command -v tshark >/dev/null; then
    inside=$(tshark -r "$work/wire.pcapng" -Y 'udp.port == 7 && ipv6' 2>/dev/null | wc -l)
    named=$(tshark -r "$work/wire.pcapng" -N n -c 200 2>/dev/null | grep -c 'agent.desk-1.fabric')
    [ "$inside" -ge 100 ] || fail "tshark sees $inside echoes inside the tunnels"
    [ "$named" -ge 1 ] || fail "tshark does not see the hosts' names"
    "$bin/rap-sim" run docs/debugging.yaml --quiet --pcap "$work/bare.pcap" --keys "$work/keys" >/dev/null 2>&1
    [ "$(stat -c %a "$work/keys")" = 600 ] || fail "others may read the key log"
    echo "tshark: sees $inside echoes inside the tunnels, and hosts by name"
    parts=$((parts + 1))
else
    echo "debugging: tshark is not installed; the capture was not opened (scripts/setup smoke)"
fi
[ "$parts" -gt 0 ] || { echo "debugging: skipped: neither chromium nor tshark is installed" && exit 77; }
echo "debugging: passed, $commands commands"
