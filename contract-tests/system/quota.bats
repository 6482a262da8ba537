#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Volumes with a size limit, on a data root whose file system counts by project: who fills one meets its end, and nobody else does. In a lab of its own.
# Needs a kernel with project quotas (Debian's has them: ci/vm check system); elsewhere the refusal is what volume/mount-options compares.
load helpers

setup_file() {
    local disk=$BATS_FILE_TMPDIR/disk
    truncate -s 400M "$disk"
    mkfs.ext4 -q -O quota,project -E quotatype=prjquota "$disk"
    mkdir "$BATS_FILE_TMPDIR/there"
    unshare -m mount -o loop,prjquota "$disk" "$BATS_FILE_TMPDIR/there" 2>/dev/null || skip_file "this kernel keeps no project quotas on ext4" || return 0
    own_lab engine
    kill -TERM "$(engine_pid)"
    poll test ! -d "/proc/$(engine_pid)"
    inside mount -o loop,prjquota "$disk" /var/lib/docker
    own_start
    need_image busybox
}

# fill VOLUME MB: as a container's root, how many KiB fit
fill() {
    docker run --rm -v "$1:/d" busybox sh -c "dd if=/dev/zero of=/d/f bs=64k count=$(($2 * 16)) 2>&1 | grep -o 'No space left on device\|quota exceeded'; du -k /d/f | cut -f1"
}

@test "a limit holds for its volume alone, and is what df shows" {
    docker volume create --opt size=20m "$N" >/dev/null
    docker volume create --opt size=10MiB "$N-2" >/dev/null
    docker volume create "$N-free" >/dev/null
    same '{"size":"20m"}' "$(docker volume inspect -f '{{json .Options}}' "$N")"
    run -0 fill "$N" 50
    [[ ${lines[0]} =~ No\ space|quota ]] || fail "$output"
    [ "${lines[1]}" -le 20480 ] && [ "${lines[1]}" -ge 19000 ] || fail "$output"
    run -0 fill "$N-2" 50
    [ "${lines[1]}" -le 10240 ] && [ "${lines[1]}" -ge 9000 ] || fail "$output"
    same 51200 "$(fill "$N-free" 50)"
    same 10240 "$(docker run --rm -v "$N-2:/d" busybox df -k /d | awk 'END { print $2 }')"
    docker volume rm "$N" "$N-2" "$N-free" >/dev/null
}

@test "names and limits can be used again; a limit outlives the engine" {
    docker volume create --opt size=5m "$N" >/dev/null
    docker volume rm "$N" >/dev/null
    docker volume create --opt size=8m "$N" >/dev/null
    [ "$SUBJECT" = reference ] || own_kill
    [ "$SUBJECT" = reference ] || own_start
    run -0 fill "$N" 50
    [ "${lines[1]}" -le 8192 ] && [ "${lines[1]}" -ge 7000 ] || fail "$output"
    docker volume create --opt size=3m "$N-2" >/dev/null
    run -0 fill "$N-2" 50
    [ "${lines[1]}" -le 3072 ] || fail "$output"
    docker volume create "$N-3" >/dev/null
    same 20480 "$(fill "$N-3" 20)"
}

@test "a backup that does not fit is not restored; one that fits keeps the limit" {
    only_ours "our own program"
    export HATAKE_HOST=$ENGINE_HOST
    hatake() { "$TOP/build/bin/hatake" -q "$@"; }
    cd "$BATS_TEST_TMPDIR"
    docker volume create "$N" >/dev/null
    docker run --rm -v "$N:/d" busybox dd if=/dev/urandom of=/d/f bs=1M count=12 status=none
    hatake volume backup "$N" out
    docker volume create --opt size=6m "$N-small" >/dev/null
    run -1 hatake volume restore "$N-small" out
    same '' "$(docker run --rm -v "$N-small:/d" busybox ls /d)"
    same "$N $N-small" "$(docker volume ls -q --filter "name=$N" | sort | xargs)"
    docker volume create --opt size=16m "$N-big" >/dev/null
    hatake volume restore "$N-big" out
    hatake volume backup "$N-big" big
    hatake volume restore "$N-again" big
    same '{"size":"16m"}' "$(docker volume inspect -f '{{json .Options}}' "$N-again")"
    run -0 fill "$N-again" 50
    [ "${lines[1]}" -le 16384 ] || fail "$output"
}
