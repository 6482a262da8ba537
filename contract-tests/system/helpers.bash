# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Shared by the tests of this folder; README.md says how they are run. Loaded by each file: `load helpers`.
#
# The engine under test is $ENGINE_HOST; with ENGINE_HOST=$REFERENCE_HOST the same tests judge the reference, where the behaviour is the reference's.
bats_require_minimum_version 1.5.0

TOP=$(cd "${BATS_TEST_DIRNAME}/../.." && pwd -P)
CI=$TOP/ci
HATAKED=${ENGINE_BIN:-$TOP/build/bin/hataked}
PTY=$BATS_TEST_DIRNAME/pty-run
CLI=${DOCKER_CLI:-docker}
: "${ENGINE_HOST:?source the variables of ci/lab env first}"

if [ "$ENGINE_HOST" = "${REFERENCE_HOST-}" ]; then
    SUBJECT=reference
    SUBJECT_NETNS=$REFERENCE_NETNS SUBJECT_ADDRESS=$REFERENCE_ADDRESS
else
    # shellcheck disable=SC2034
    SUBJECT=engine
    SUBJECT_NETNS=$ENGINE_NETNS SUBJECT_ADDRESS=$ENGINE_ADDRESS
fi

docker() { "$CLI" -H "$ENGINE_HOST" "$@"; }
# poll COMMAND...: until it succeeds. Fails with what it said last, after a time that only a failing test ever takes.
PATIENCE=90
export HATAKE_PTY_TIMEOUT=${HATAKE_PTY_TIMEOUT:-$PATIENCE}
poll() {
    local end=$((SECONDS + PATIENCE)) said
    while ! said=$("$@" 2>&1); do
        if [ $SECONDS -ge "$end" ]; then
            echo "never came true: $* (last: $said)" >&2
            return 1
        fi
        sleep 0.05
    done
}

fail() {
    echo "$*" >&2
    return 1
}

# same WANT GOT [WHAT]
same() {
    [ "$1" = "$2" ] && return 0
    printf '%s\n  want: %q\n  got:  %q\n' "${3:-differs}" "$1" "$2" >&2
    return 1
}

# contains TEXT PART
contains() {
    case $1 in *"$2"*) return 0 ;; esac
    printf 'missing %q in:\n%s\n' "$2" "$1" >&2
    return 1
}

# request METHOD PATH [BODY [HEADER...]]: one API request. Sets STATUS, BODY, HEAD.
request() {
    local method=$1 path=$2 body=${3-} args=() h out=$BATS_TEST_TMPDIR/answer
    shift $(($# < 3 ? $# : 3))
    for h in "$@"; do args+=(-H "$h"); done
    [ -z "$body" ] || args+=(-H 'Content-Type: application/json' --data-binary "$body")
    [ "$method" != HEAD ] || args+=(-I)
    STATUS=$(curl -gsS --max-time 60 --unix-socket "${ENGINE_HOST#unix://}" -X "$method" "${args[@]}" -D "$out.head" -o "$out" -w '%{http_code}' \
        "http://engine$path") || return 1
    # shellcheck disable=SC2034
    BODY=$(cat "$out") HEAD=$(tr -d '\r' <"$out.head")
}

in_engine_net() { ip netns exec "$SUBJECT_NETNS" "$@"; }
in_neighbour() { ip netns exec "${NEIGHBOUR_NETNS:?ci/lab up neighbour}" "$@"; }
fetch() { curl -sS --max-time "${FETCH_TIMEOUT:-60}" "$1"; }
state_of() { docker inspect -f '{{.State.Status}}' "$1"; }
is_state() { [ "$(state_of "$1")" = "$2" ]; }
gone() { ! docker inspect "$1" >/dev/null 2>&1; }

# need_image NAME...: load it from the lab's archives unless it is there.
need_image() {
    local name
    for name in "$@"; do
        docker image inspect "$name" >/dev/null 2>&1 || docker load -qi "$IMAGES/$name/docker.tar" >/dev/null
    done
}

# Each test names everything $N or $N-something; teardown removes it by that. A file with a setup of its own begins it with this; without $N its teardown has
# nothing to do.
begin_test() {
    [ ! -e "$BATS_FILE_TMPDIR/skip" ] || skip "$(cat "$BATS_FILE_TMPDIR/skip")"
    [ ! -e "$BATS_FILE_TMPDIR/own-lab" ] || own_lab_env
    N=sys$$-$BATS_TEST_NUMBER-$RANDOM
}
setup() { begin_test; }

remove_ours() {
    local ids
    [ -n "${N-}" ] || return 0 # skipped before it had a name: an empty one fits all there is, in the shared engine, too
    ids=$(docker ps -aq --filter "name=$N" 2>/dev/null)
    # shellcheck disable=SC2086
    [ -z "$ids" ] || docker rm -fv $ids >/dev/null 2>&1 || true
    ids=$(docker volume ls -q --filter "name=$N" 2>/dev/null)
    # shellcheck disable=SC2086
    [ -z "$ids" ] || docker volume rm -f $ids >/dev/null 2>&1 || true
}

end_jobs() {
    local job
    for job in $(jobs -p); do kill "$job" 2>/dev/null || true; done
}
teardown() {
    end_jobs
    remove_ours
}

# measured PROGRAM [ARGUMENT...]: a program of this folder against the engine; its figures are shown, and when it fails, so does the test.
measured() {
    local said
    said=$("$BATS_TEST_DIRNAME/$1" "${ENGINE_HOST#unix://}" "${@:2}") || return 1
    echo "# $said" >&3
}

# only_ours REASON: for behaviour that is this engine's own.
only_ours() {
    if [ "$SUBJECT" = reference ]; then skip "not the reference's: $1"; fi
}
# The same for all tests of a file, in its setup_file, where bats 1.8 takes `skip` for a failure: only_ours_file REASON || return 0
only_ours_file() { [ "$SUBJECT" != reference ] || skip_file "not the reference's: $1"; }
skip_file() {
    echo "$1" >"$BATS_FILE_TMPDIR/skip"
    return 1
}

# ---- an engine of the test's own: its own namespaces, data and registries ---------------------------------------------------------------------
# own_lab PART... in setup_file: variables of the own lab replace those of the shared one for this file, and the lab is taken down at its end.
OWN_LAB=${HATAKE_LAB:-hatake-lab}
OWN_LAB=${OWN_LAB%-own}-own
own_lab() {
    touch "$BATS_FILE_TMPDIR/own-lab"
    # shellcheck disable=SC2030,SC2031
    export HATAKE_LAB=$OWN_LAB
    "$CI/lab" up "$@" >&2 3>&-
    own_lab_env
}
own_lab_env() {
    export HATAKE_LAB=$OWN_LAB
    eval "$("$CI/lab" env | sed 's/^/export /')"
    if [ "$SUBJECT" = reference ]; then
        ENGINE_HOST=$REFERENCE_HOST SUBJECT_NETNS=$REFERENCE_NETNS SUBJECT_ADDRESS=$REFERENCE_ADDRESS
    else
        SUBJECT_NETNS=$ENGINE_NETNS SUBJECT_ADDRESS=$ENGINE_ADDRESS
    fi
}
teardown_file() { own_lab_down; }
own_lab_down() {
    local log=$TOP/build/${OWN_LAB#hatake-}/engine/log faults
    [ -e "$BATS_FILE_TMPDIR/own-lab" ] || return 0
    # With HATAKE_VALIDATE=1 the engine has held every answer against spec/.
    faults=$(grep -ah 'schema: ' "$log" || true)
    HATAKE_LAB=$OWN_LAB "$CI/lab" down >&2
    [ -z "$faults" ] || fail "$faults"
}
# inside COMMAND...: in the namespaces of the engine
inside() { "$CI/lab" sh engine "$@"; }
engine_pid() { cat "$TOP/build/${OWN_LAB#hatake-}/engine/pid"; }
# own_restart [FLAG...]: end the daemon in order and start it again with these flags
own_restart() { ENGINE_FLAGS="$*" "$CI/lab" restart engine >&2 3>&-; }
# own_start [FLAG...]: start it after it was killed
own_start() { ENGINE_FLAGS="$*" "$CI/lab" up engine >&2 3>&-; }
# own_end: end the daemon in order
own_end() {
    local pid
    pid=$(engine_pid)
    kill "$pid"
    poll test ! -d "/proc/$pid"
}
own_kill() {
    local pid
    pid=$(engine_pid)
    kill -KILL "$pid"
    poll test ! -d "/proc/$pid"
}

# job_ends STATUS PID: wait for a background job of this shell (`run wait` would ask a shell that has no such child)
job_ends() {
    local code=0
    wait "$2" || code=$?
    same "$1" "$code" "exit status of the job"
}
