#!/bin/sh
# A worker that keeps to the protocol of holdfast_record::worker and simulates nothing: what its seeds come to depends
# on the scenario's name alone. Started by tests of xtask.
set -eu

lane_info() {
    printf '{"lane":"%s","default_seeds":%s,"marks":["leader changed"]}' "$1" "$2"
}

scenario_info() {
    printf '{"name":"%s","description":"%s","lanes":[' "$1" "$2"
    lane_info fast 40
    printf ','
    lane_info full 4
    printf ']}'
}

list() {
    printf '['
    scenario_info good 'nothing happens'
    for name in breaks dies hangs drifts unreached wrong refuses; do
        printf ','
        scenario_info "$name" "it $name"
    done
    printf ']\n'
}

mutants() {
    printf '['
    printf '{"name":"easy","id":"R1","source":"a paper","description":"x","crate":"c","scenario":"breaks","lane":"fast"},'
    printf '{"name":"deadly","id":"R2","source":"a paper","description":"x","crate":"c","scenario":"dies","lane":"fast"},'
    printf '{"name":"hidden","id":"R3","source":"a paper","description":"x","crate":"c","scenario":"good","lane":"fast"}'
    printf ']\n'
}

# One seed: record SEED.
record() {
    hash=$(printf '%016x' $(($1 * 7919)))
    failure=null
    reached=1
    number=$1
    case "$scenario" in
    breaks)
        if [ $(($1 % 20)) -eq 7 ] && { [ -z "$outside" ] || [ "$1" -gt 20 ]; }; then
            failure='{"property":"linearizability","message":"get a returned 3","at_ns":12000000,"node":1}'
        fi
        ;;
    dies)
        if [ "$1" -eq 5 ]; then
            printf "thread 'main' (1) panicked at src/x.rs:3:5:\nan assertion of seed 5\n" >&2
            exit 101
        fi
        ;;
    hangs)
        if [ "$1" -eq 3 ]; then exec sleep 600; fi
        ;;
    drifts) hash=$(printf '%016x' $$) ;;
    unreached) reached=0 ;;
    wrong) number=$(($1 + 1)) ;;
    refuses)
        echo "there is no disk left" >&2
        exit 1
        ;;
    esac
    printf '{"scenario":"%s","lane":"%s","seed":%s,"nodes":3,' "$scenario" "$lane" "$number"
    printf '"simulated_ns":1000000000,"cpu_ns":1000000,"messages":10,"operations":5,"unknown":0,'
    printf '"faults":{"kill":1},"marks":{"leader changed":%s},"trace_hash":"%s",' "$reached" "$hash"
    printf '"failure":%s}\n' "$failure"
}

timeline() {
    if [ -n "$timeline" ]; then
        printf '{"lanes":["node 1"],"events":[],"dropped":0,"plan":"{\\"scenario\\":\\"%s\\",\\"seed\\":7}"}' \
            "$scenario" >"$timeline"
    fi
}

run() {
    scenario=$1
    shift
    lane=fast from= to= order=forward seed= replay= timeline= stop= outside=
    while [ $# -gt 0 ]; do
        case "$1" in
        --lane) lane=$2 && shift 2 ;;
        --from) from=$2 && shift 2 ;;
        --to) to=$2 && shift 2 ;;
        --order) order=$2 && shift 2 ;;
        --seed) seed=$2 && shift 2 ;;
        --replay) replay=$2 && shift 2 ;;
        --timeline) timeline=$2 && shift 2 ;;
        --mutant) shift 2 ;;
        --stop-on-failure) stop=yes && shift ;;
        --black-box) outside=yes && shift ;;
        *) echo "unknown: $1" >&2 && exit 2 ;;
        esac
    done
    if [ -n "$replay" ]; then
        record 7
        timeline
        return
    fi
    if [ -n "$seed" ]; then
        record "$seed"
        timeline
        return
    fi
    i=$from
    while [ "$i" -lt "$to" ]; do
        if [ "$order" = reverse ]; then
            record $((to - 1 - i + from))
        else
            record "$i"
        fi
        if [ -n "$stop" ] && [ "$failure" != null ]; then break; fi
        i=$((i + 1))
    done
}

case "$1" in
list) list ;;
mutants) mutants ;;
run) shift && run "$@" ;;
*) exit 2 ;;
esac
