#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The n-th call of each kind fails while an image is loaded or pulled: afterwards the image is there whole or not at all, the same works again, and nothing is
# left once it is removed. In a lab of its own. Only with LONG=1; LONG=60: every n up to 60 instead of a few.
load helpers

wanted() { [ -n "${LONG-}" ] && [ "$ENGINE_HOST" != "${REFERENCE_HOST-}" ]; }

setup_file() {
    if wanted; then own_lab registry engine; fi
}
setup() {
    wanted || skip "minutes of tracing inside this engine: LONG=1"
    begin_test
    request GET /_ping || own_start
}

steps() { if [ "${LONG-1}" -gt 1 ]; then seq "$1" "$LONG"; else echo "$@"; fi; }

# with_fault INJECTION COMMAND...: run it while that happens in the engine and its helpers. What becomes of it does not matter here.
with_fault() {
    local pid tracer said=$BATS_TEST_TMPDIR/tracer inject=$1
    shift
    pid=$(engine_pid)
    : >"$said"
    strace -f -e "trace=${inject%%:*}" -e "inject=$inject" -o /dev/null -p "$pid" 2>"$said" 3>&- &
    tracer=$!
    poll grep -q "attached" "$said"
    "$@" >"$BATS_TEST_TMPDIR/said" 2>&1 || true
    kill -INT "$tracer" 2>/dev/null || true
    wait "$tracer" || true
    if ! request GET /_ping; then own_start; fi
}

image_is_whole() { [ "$(docker run --rm --network none "$1" sh -c 'test -e /bin/busybox && echo whole')" = whole ]; }
not_there() { ! docker image inspect "$1" >/dev/null 2>&1; }

# Everything of the store that an empty engine does not have.
leftovers() {
    find "$ENGINE_ROOT/overlay2" "$ENGINE_ROOT/content" -mindepth 1 \( -path '*/l' -o -path '*/content/partial' -o -name 'empty-init' -prune \) -o -print 2>/dev/null | head
}
store_is_empty() { [ -z "$(leftovers)" ]; }

# settled NAME MAKE...: whole or absent; made again it is whole; removed it leaves nothing.
settled() {
    local name=$1
    shift
    not_there "$name" || image_is_whole "$name" || fail "half an image after $FAULT: $(cat "$BATS_TEST_TMPDIR/said")"
    "$@" >/dev/null || fail "does not work again after $FAULT"
    image_is_whole "$name" || fail "not whole after $FAULT"
    docker rmi -f "$name" >/dev/null
    poll store_is_empty || fail "left after $FAULT: $(leftovers)"
}

load_it() { docker load -qi "$IMAGES/busybox/docker.tar"; }
pull_it() { docker pull -q "$REGISTRY/busybox"; }

@test "load: the n-th call fails" {
    local n call
    for call in pwrite64:error=ENOSPC openat:error=EMFILE rename:error=EIO fdatasync:error=EIO syncfs:error=EIO mkdirat:error=ENOSPC linkat:error=EMLINK symlink:error=ENOSPC; do
        for n in $(steps 1 2 5); do
            FAULT=$call:when=$n
            with_fault "$FAULT" load_it
            settled busybox load_it
        done
    done
}

@test "pull: the n-th call fails" {
    local n call
    for call in pwrite64:error=ENOSPC openat:error=EMFILE rename:error=EIO syncfs:error=EIO connect:error=ENETUNREACH clone3:error=EAGAIN socketpair:error=EMFILE; do
        for n in $(steps 1 2); do
            FAULT=$call:when=$n
            with_fault "$FAULT" pull_it
            settled "$REGISTRY/busybox" pull_it
        done
    done
}
