#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The power goes in the midst of pull, load, rm and prune: what had reached the disk by then is a store that opens, with whole images and nothing else. The data
# root is a file system in a file; the cut is a copy of that file, without what was not written yet, on which the next engine lives. LONG=1: 200 cuts instead of a few.
load helpers

setup_file() {
    only_ours_file "looks into this engine's store" || return 0
    own_lab registry engine
}
setup() {
    begin_test
    DISK=$BATS_TEST_TMPDIR/disk
    own_kill
    truncate -s 1G "$DISK"
    mkfs.ext4 -q -F "$DISK"
    inside mount -o loop "$DISK" /var/lib/docker
    own_start
}
teardown() {
    [ -n "${N-}" ] || return 0
    own_kill || true
    inside umount -l /var/lib/docker
}

# One moment's state of the disk: copied again if something was written meanwhile.
snapshot() {
    local stat=/sys/block/$1/stat before
    before=$(awk '$9 == 0 { print $5, $7 }' "$stat")
    [ -n "$before" ] && cp --sparse=always "$DISK" "$DISK.cut" && [ "$before" = "$(awk '$9 == 0 { print $5, $7 }' "$stat")" ]
}

# The next life sees what the disk had got when the power went.
cut_power() {
    local pid device
    pid=$(engine_pid)
    device=$(losetup -n -O NAME -j "$DISK")
    kill -STOP "$pid"
    poll snapshot "${device#/dev/}"
    kill -KILL "$pid"
    poll test ! -d "/proc/$pid"
    poll inside umount /var/lib/docker
    mv "$DISK.cut" "$DISK"
    inside mount -o loop "$DISK" /var/lib/docker
    own_start
}

leftovers() {
    inside find /var/lib/docker/overlay2 /var/lib/docker/content -mindepth 1 \( -path '*/l' -o -path '*/content/partial' -o -name 'empty-init' -prune \) -o -print 2>/dev/null | head
}
store_is_empty() { [ -z "$(leftovers)" ]; }
# What no engine is asked: every file has an owner, every row its files, every layer its bytes.
check_is_clean() {
    own_kill
    same "0 problems, 0 mended" "$(inside "$HATAKED" check --data-root /var/lib/docker --bits)"
    own_start
}

@test "pull, load, rm and prune are cut off: the store opens, images are whole, nothing is left over" {
    local i name cuts=6 amidst=0 whole=0
    # of each kind the longest time until the cut, in milliseconds
    local -a span=(500 500 40 40)
    [ -z "${LONG-}" ] || cuts=200
    for ((i = 0; i < cuts; i++)); do
        # What is there before: an image or none.
        docker rmi -f busybox >/dev/null 2>&1 || true
        [ $((i % 4)) -lt 2 ] || docker load -qi "$IMAGES/busybox/docker.tar" >/dev/null
        case $((i % 4)) in
        0) docker pull -q "$REGISTRY/semantics" >/dev/null 2>&1 3>&- & ;;
        1) docker load -qi "$IMAGES/debian/docker.tar" >/dev/null 2>&1 3>&- & ;;
        2) docker rmi busybox >/dev/null 2>&1 3>&- & ;;
        3) docker image prune -af >/dev/null 2>&1 3>&- & ;;
        esac
        sleep "$(printf '0.%03d' $((RANDOM % span[i % 4])))" # the moment of the cut
        ! kill -0 $! 2>/dev/null || amidst=$((amidst + 1))
        cut_power
        wait
        check_is_clean || fail "cut $i (kind $((i % 4)))"
        for name in $(docker images --format '{{.Repository}}:{{.Tag}}' | grep -v '<none>'); do
            # Made again from its folders, each layer has its digest.
            docker save "$name" | tar -t >/dev/null || fail "cut $i (kind $((i % 4))): $name is not whole"
            whole=$((whole + 1))
        done
        docker images -aq | sort -u | xargs -r "$CLI" -H "$ENGINE_HOST" rmi -f >/dev/null
        docker image prune -af >/dev/null
        poll store_is_empty || fail "cut $i (kind $((i % 4))) left: $(leftovers)"
    done
    echo "# $cuts cuts, $amidst of them before the client had its answer; $whole images found afterwards, all whole" >&3
}
