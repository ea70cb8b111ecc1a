#!/usr/bin/env bash
# The simulator's commands as a program sees them: a run that a swarm drew comes to the same trace in every command, what is
# wrong with a corpus or an output is refused before anything is touched, and each ending has its exit status.
#
#   smoke/searching.sh
#
# Needs a build that has planted bugs (a debug build). Ends with 0 (passed) or 1.
set -uo pipefail
cd "$(dirname "$0")/.." || exit

bin=${RAP_BIN:-.build/debug}
[ -x "$bin/rap-sim" ] || swift build --product rap-sim || exit 1
sim=$(realpath "$bin/rap-sim")
work=$(mktemp -d -t rap-searching.XXXXXX)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit
fail() {
    echo "searching: FAILED: $1" >&2
    [ ! -s output ] || tail -n 30 output >&2
    exit 1
}
# Runs a command whose status must be this; what it prints is in `output`.
expect() {
    local wanted=$1 status=0
    shift
    "$@" >output 2>&1 </dev/null || status=$?
    [ "$status" -eq "$wanted" ] || fail "status $status, not $wanted: $*"
}
says() { grep -qF -- "$1" output || fail "this is not said: $1"; }

# Roads that a swarm makes worse; what is expected in the end does not hold with the planted bug below.
cat >"two roads.yaml" <<'YAML'
scenario: two-roads
hosts: [simulator, live]
duration: 60s
world:
  places: [north, south]
  cluster: { name: roads, heartbeat: 5s, probe: 1s }
  nodes: [{ group: left, place: north }, { group: right, place: south, count: 2 }]
timeline:
  - { at: 0s, token: { name: t, uses: 3 } }
  - { at: 1s, enrol: { nodes: all, token: t } }
  - { every: 1s, until: 60s, approve: { nodes: all } }
expect:
  - { name: all is well in the end, at: 60s, that: { reaches: { from: all, to: policy } } }
swarm:
  faults: [readdress]
  attacks: [replay, flood, capture-control]
  from: 10s
  quiet: 30s
  count: { at-least: 4 }
YAML
file="two roads.yaml" bug=roaming-ignored

# ---------------------------------------------------------------- one run, all commands
hash_of() { grep -oE '[0-9a-f]{32}' "$1" | head -n 1; }
expect 1 "$sim" swarm "$file" --seeds 1..12 --mutant $bug --check-every 0
says "FAILED"
replay=$(sed -n 's/^ *replay: //p' output | head -n 1)
[ -n "$replay" ] || fail "no replay command is printed"
seed=$(grep -oE -- '--swarm-seed [0-9]+' <<<"$replay" | grep -oE '[0-9]+')
which=(--swarm-seed "$seed" --mutant "$bug")
expect 1 bash -c "$replay --json --report report.html"
grep -oE '"traceHash":"[0-9a-f]{32}"' output >found || fail "no trace hash"
hash=$(hash_of found)
grep -qF "\"replay\":\"rap sim run 'two roads.yaml' --swarm-seed $seed --mutant $bug\"" output || fail "--json names another replay"
grep -qF "rap sim run 'two roads.yaml' --swarm-seed $seed --mutant $bug" report.html || fail "the report names another replay"
same() { [ "$(hash_of output)" = "$hash" ] || fail "$1 comes to another trace than $hash"; }
# The same, in the line of the output that begins so.
same_in() {
    grep -oE -- "$1.*" output >found || fail "$2 prints no trace hash"
    [ "$(hash_of found)" = "$hash" ] || fail "$2 comes to another trace than $hash"
}
expect 1 "$sim" run "$file" "${which[@]}" --quiet
same run
expect 1 "$sim" check "$file" "${which[@]}"
same check
expect 0 "$sim" trace "$file" "${which[@]}" --json --limit 1
same_in '"traceHash":"[0-9a-f]{32}"' trace
"$sim" explain-path "$file" left right-1 "${which[@]}" >output 2>&1
same_in '^run ' explain-path
"$sim" debug "$file" "${which[@]}" >output 2>&1 <<<$'step 500\nback 3\nrun\nwhere' || fail "debug"
same_in '^trace ' debug
expect 0 "$sim" shrink "$file" "${which[@]}" --out small.yaml --budget 20s --quiet
same_in '^replayed' shrink
"$sim" explain "$file" "${which[@]}" >drawn.yaml || fail "explain"
expect 1 "$sim" run drawn.yaml --mutant $bug --quiet
same "what explain prints"
"$sim" run "$file" --swarm-seed "$seed" --quiet >output 2>&1
[ -n "$(hash_of output)" ] || fail "the run without the planted bug prints no trace hash"
[ "$(hash_of output)" != "$hash" ] || fail "the planted bug changes nothing, so that nothing was shown"
# The second process of a check has its heap laid out in another way, huge pages or not.
cat >spy <<EOF
#!/usr/bin/env bash
echo "\$GLIBC_TUNABLES" >tunables
exec "$sim" "\$@"
EOF
chmod +x spy
expect 1 "$sim" check "$file" "${which[@]}" --against ./spy
same "check with another heap"
grep -qx 'glibc.malloc.hugetlb=0' tunables || fail "both processes of a check have the same heap"
echo "replays: $hash in run, report, check, trace, explain-path, debug, shrink and the explained file"

# ---------------------------------------------------------------- files that were not written for a swarm
sed '/^swarm:/,$d; s/at: 60s, that/at: 5s, that/' "$file" >plain.yaml
expect 0 "$sim" swarm plain.yaml --seeds 1..6 --check-every 0
says "the safety rules alone"
says "not held: all is well in the end"
# Nor does a rare state, which the rules do not ask for.
{
    cat plain.yaml
    echo '  - { name: too early, sometimes: { reaches: { from: all, to: policy } }, until: 1s }'
} >rare.yaml
expect 0 "$sim" swarm rare.yaml --seeds 1..2 --check-every 0
says "REACHED BY NONE: too early"
says "result    held"
sed 's/hosts: .*/hosts: [live]/' "$file" >live.yaml
expect 2 "$sim" swarm live.yaml --seeds 1..2
expect 2 "$sim" run live.yaml --swarm-seed 1
says "live.yaml:2"

# ---------------------------------------------------------------- the corpus
quick=(--seeds 1..4 --jobs 1 --check-every 0 --quiet)
expect 0 "$sim" swarm "$file" "${quick[@]}" --corpus kept
program=$(sha256sum "$sim" | cut -c 1-12)
grep -qF "\"program\":\"$program\"" kept/two-roads.progress || fail "the progress does not name the program"
[ "$(wc -l <kept/two-roads.progress)" -eq 5 ] || fail "the progress has not four seeds"
expect 0 "$sim" swarm "$file" "${quick[@]}" --corpus kept --resume
says "4 of 4 seeds were done before"
# What another build found to fail is run again, and is forgotten when it holds.
sed -i "s/$program/000000000000/; s/\"outcome\":\"held\",\"seed\":3}/\"outcome\":\"broken\",\"seed\":3}/" kept/two-roads.progress
grep -q '"outcome":"broken","seed":3' kept/two-roads.progress || fail "the progress was not what this script takes it for"
expect 0 "$sim" swarm "$file" "${quick[@]}" --corpus kept --resume
says "another build's"
sed -n 2p kept/two-roads.progress >output
says '"outcome":"held","seed":3'
# Half a header, a line that is none, another swarm at work: nothing is run or written.
for damage in 'head -c 20' 'sed s/first/frst/' 'sed 2s/seed/sed/'; do
    cp -r kept hurt
    $damage kept/two-roads.progress >hurt/two-roads.progress
    cp hurt/two-roads.progress before
    expect 2 "$sim" swarm "$file" "${quick[@]}" --corpus hurt --resume
    says "two-roads.progress: line"
    cmp -s before hurt/two-roads.progress || fail "a refused progress was changed by: $damage"
    rm -r hurt
done
cp kept/two-roads.progress before
head -c 9 kept/two-roads.corpus >half && cp half kept/two-roads.corpus
expect 2 "$sim" swarm "$file" "${quick[@]}" --corpus kept
says "two-roads.corpus: line 1"
{ cmp -s half kept/two-roads.corpus && cmp -s before kept/two-roads.progress; } || fail "a swarm that was refused wrote"
exec 9>kept/two-roads.lock
flock 9
expect 2 "$sim" swarm "$file" "${quick[@]}" --corpus kept
says "another swarm works on this corpus"
exec 9>&-

# A build that takes the program's place in the midst of a swarm does not get into it.
cp "$sim" mine
./mine swarm plain.yaml --seeds 1..6 --jobs 1 --check-every 0 --quiet --corpus rebuilt >output 2>&1 </dev/null &
swarm=$!
lines() { if [ -e "$1" ]; then wc -l <"$1"; else echo 0; fi; }
while [ "$(lines rebuilt/two-roads.progress)" -lt 3 ] && kill -0 $swarm 2>/dev/null; do sleep 0.1; done
rm mine
wait $swarm || fail "a swarm whose program was replaced"
[ "$(wc -l <rebuilt/two-roads.progress)" -eq 7 ] || fail "a swarm whose program was replaced is not whole"

# A scenario file that changes in the midst of a swarm does not get into it either.
cp plain.yaml edited.yaml
"$sim" swarm edited.yaml --seeds 1..30 --jobs 1 --check-every 0 --quiet --corpus edited >output 2>&1 </dev/null &
swarm=$!
while [ "$(lines edited/two-roads.progress)" -lt 3 ] && kill -0 $swarm 2>/dev/null; do sleep 0.1; done
echo '# another text' >>edited.yaml
status=0
wait $swarm || status=$?
[ "$status" -eq 4 ] || fail "status $status, not 4: the scenario was changed in the midst of a swarm"
says "edited.yaml is not the file that the swarm began with"
[ "$(lines edited/two-roads.progress)" -lt 31 ] || fail "runs of another text count as done"
# What took too long is run again, by another limit.
expect 1 "$sim" swarm plain.yaml --seeds 1..2 --seed-limit 1ms --check-every 0 --corpus late
says "it took longer than a run may"
expect 0 "$sim" swarm plain.yaml --seeds 1..2 --check-every 0 --corpus late --resume
[ "$(lines late/two-roads.progress)" -eq 3 ] || fail "the progress has not one line for each seed"

# ---------------------------------------------------------------- endings
sed 's/count: 2/count: 60/; s/uses: 3/uses: 99/; s/duration: 60s/duration: 20m/' "$file" >long.yaml
# A program that began once more, on huge pages, is listed under its name.
"$sim" run long.yaml --quiet >/dev/null 2>&1 </dev/null &
run=$!
while kill -0 $run 2>/dev/null && ! grep -q GLIBC_TUNABLES /proc/$run/environ 2>/dev/null; do sleep 0.02; done
for _ in 1 2 3 4 5 6 7 8 9 10; do
    name=$(cat /proc/$run/comm 2>/dev/null)
    [ "$name" = rap-sim ] && break
    sleep 0.1
done
[ "$name" = rap-sim ] || fail "the process is listed as $name"
kill $run
wait $run 2>/dev/null
# Each run may use one second of the processor; the kernel ends it then.
status=0
(ulimit -t 1 && exec "$sim" swarm long.yaml --seeds 1..2 --check-every 0 --corpus killed) >output 2>&1 </dev/null || status=$?
[ "$status" -eq 4 ] || fail "status $status, not 4: killed runs"
says "NO RESULT"
[ "$(wc -l <killed/two-roads.progress)" -eq 1 ] || fail "a killed run counts as done"
expect 1 "$sim" swarm long.yaml --seeds 1..1 --seed-limit 300ms --check-every 0
says "it took longer than a run may"
expect 0 "$sim" swarm plain.yaml --seeds 1..1 --seed-limit 59.5s --check-every 0
for seeds in 0..9223372036854775808 9..1 1 -1..2 1..2..3 0..99999999; do
    expect 2 "$sim" swarm plain.yaml "--seeds=$seeds"
done
for verb in run check explain trace debug shrink; do
    expect 2 "$sim" $verb plain.yaml --swarm-seed 9223372036854775808
    says "below 2^63"
    expect 2 "$sim" $verb plain.yaml --swarm-seed 1 --seed 1
done

# ---------------------------------------------------------------- outputs
if [ -c /dev/full ]; then
    for command in "--help" "swarm --help" "explain plain.yaml" "run plain.yaml --quiet" "run plain.yaml --json" "check plain.yaml" "trace plain.yaml --json" \
        "trace plain.yaml" "explain-path plain.yaml left right-1" "swarm plain.yaml --seeds 1..1 --quiet"; do
        status=0
        # shellcheck disable=SC2086
        "$sim" $command >/dev/full 2>output </dev/null || status=$?
        [ "$status" -ne 0 ] || fail "what could not be printed went unnoticed: $command"
        says "standard output could not be written whole"
    done
    expect 1 "$sim" run plain.yaml --quiet --trace /dev/full
    says "/dev/full can't be written: the disk is full; make room"
    expect 4 "$sim" shrink small.yaml --mutant $bug --out /dev/full --budget 20s --quiet
    says "/dev/full can't be written: the disk is full; make room"
fi
for option in --report --pcap --events --trace; do
    echo precious >old
    expect 2 "$sim" run plain.yaml --quiet $option old --keys nowhere/keys --pcap other
    grep -qx precious old || fail "$option was emptied before the command was refused"
    [ ! -e other ] || fail "a refused command left a file"
    expect 2 "$sim" run plain.yaml --quiet $option nowhere/else
    says "$option nowhere/else can't be written: there is no such directory; make it"
    expect 2 "$sim" run plain.yaml --quiet $option "$work"
    says "it is a directory; name a file in it"
done
echo precious >old
expect 2 "$sim" run plain.yaml --quiet --pcap old --pcap-node nobody
grep -qx precious old || fail "--pcap was emptied before its node was refused"
# What is one file is one under every name, wherever it is; devices take what comes.
ln plain.yaml other-name.yaml
mkdir memory
if [ -w /dev/shm ]; then
    rmdir memory
    memory=$(mktemp -d /dev/shm/rap-searching.XXXXXX)
    trap 'rm -rf "$work" "$memory"' EXIT
    ln -s "$memory" memory
fi
cp plain.yaml memory/plain.yaml
for names in "plain.yaml other-name.yaml" "memory/plain.yaml $(realpath memory)/plain.yaml"; do
    read -r scenario written <<<"$names"
    expect 2 "$sim" run "$scenario" --quiet --trace "$written"
    says "would overwrite the scenario"
    [ -s "$scenario" ] || fail "the scenario was overwritten under the name $written"
done
expect 2 "$sim" run plain.yaml --quiet --trace both --events ./both
says "would overwrite what --events writes"
[ ! -e both ] || fail "a refused command left a file"
"$sim" run plain.yaml --quiet --trace /dev/null --events /dev/null >output 2>&1
grep -q "would overwrite" output && fail "a device does not take two outputs"
expect 2 "$sim" shrink plain.yaml --out nowhere/small.yaml
says "--out nowhere/small.yaml can't be written"
expect 2 "$sim" shrink plain.yaml --out plain.yaml
says "would overwrite the scenario"
expect 2 "$sim" shrink plain.yaml --out old --seed 1 --budget 5s --quiet
grep -qx precious old || fail "a search that found nothing emptied --out"
printf 'step -1\nstep\nwhere\n' | "$sim" debug plain.yaml >output 2>&1
[ "${PIPESTATUS[1]}" -eq 2 ] || fail "debug took step -1"
says "step takes a number from 1"
says "event 1,"
echo "searching: passed"
