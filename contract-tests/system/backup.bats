#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# hatake volume backup and restore: nothing that a file has is lost, nothing half-made is ever to be seen, users are refused or paused, damage is found.
load helpers

HATAKE=$TOP/build/bin/hatake

setup_file() {
    only_ours_file "our own command-line program on our own engine" || return 0
    need_image busybox
}

setup() {
    begin_test
    cd "$BATS_TEST_TMPDIR" || return 1
    export HATAKE_HOST=$ENGINE_HOST
}
hatake() { "$HATAKE" "$@"; }
data_of() { echo "$ENGINE_ROOT/volumes/$1/_data"; }

# make_volume NAME: with a little of everything
make_volume() {
    local d
    hatake volume create -l a=b -l "with space=ä=1" "$1" >/dev/null
    d=$(data_of "$1")
    /usr/bin/python3 - "$d" <<'EOF'
import os, socket, sys
d = sys.argv[1]
os.chdir(d)
os.umask(0)
def put(name, text, mode=0o644, uid=0, gid=0):
    with open(name, "wb") as f:
        f.write(text)
    os.chown(name, uid, gid)
    os.chmod(name, mode)
put("plain", b"hello\n")
put("setuid", b"x", 0o4755, 1000, 1001)
put("far", b"", 0o600, 3000000, 4000000)
os.makedirs("dir/sub")
put("dir/sub/deep" + "n" * 180, b"long name")
put(b"odd \xff\n name", b"odd")
os.link("plain", "dir/hard")
os.symlink("../../../../outside", "climbs")
os.symlink("/etc/passwd", "absolute")
os.symlink("plain", "dir/link")
os.lchown("dir/link", 7, 8)
os.mkfifo("fifo", 0o640)
os.mknod("null", 0o20666, os.makedev(1, 3))
os.mknod("loop", 0o60660, os.makedev(7, 9))
put("attributes", b"a")
os.setxattr("attributes", "user.one", b"1\x00binary\xff")
os.setxattr("attributes", "trusted.two", b"")
os.setxattr("dir", "user.of-folder", b"2")
os.setxattr("climbs", "trusted.of-link", b"3", follow_symlinks=False)
put("capable", b"#!", 0o755)
os.setxattr("capable", "security.capability", bytes.fromhex("0100000200040000000000000000000000000000"))
with open("sparse", "wb") as f:
    f.truncate(30 << 20)
    f.seek(5 << 20); f.write(b"in the middle")
    f.seek((20 << 20) + 17); f.write(b"x" * 70000)
with open("hole", "wb") as f:
    f.truncate(10 << 20)
acl = bytes.fromhex("02000000" "01000700ffffffff" "02000600e8030000" "04000500ffffffff" "10000700ffffffff" "20000000ffffffff")
os.setxattr("dir", "system.posix_acl_default", acl)
os.setxattr("dir/sub", "system.posix_acl_access", acl)
os.utime("plain", ns=(10**18 + 5, 10**18 + 123456789))
os.utime("dir", ns=(1, 999999999))
os.utime("climbs", ns=(3, 4), follow_symlinks=False)
os.chown(".", 70, 71)
os.chmod(".", 0o2770)
os.setxattr(".", "user.root", b"r")
os.utime(".", ns=(7, 777000777))
EOF
}

# all_of FOLDER: everything there is to know of what lies in it
all_of() {
    /usr/bin/python3 - "$1" <<'EOF'
import hashlib, os, stat, sys
os.chdir(sys.argv[1])
inodes = {}
def show(p):
    s = os.lstat(p)
    print(repr(p), oct(s.st_mode), s.st_uid, s.st_gid, s.st_mtime_ns, "dev %d" % s.st_rdev, "links %d" % (1 if stat.S_ISDIR(s.st_mode) else s.st_nlink),
          "like", inodes.setdefault(s.st_ino, p) if s.st_nlink > 1 else p)
    for x in sorted(os.listxattr(p, follow_symlinks=False)):
        print("  ", x, os.getxattr(p, x, follow_symlinks=False).hex())
    if stat.S_ISREG(s.st_mode):
        with open(p, "rb") as f:
            print("  ", s.st_size, hashlib.sha256(f.read()).hexdigest(), "holes" if s.st_blocks * 512 + 65536 < s.st_size else "")
    elif stat.S_ISLNK(s.st_mode):
        print("   ->", os.readlink(p))
show(b".")
for folder, folders, files in os.walk(b"."):
    folders.sort()
    for name in sorted(folders + files):
        show(os.path.join(folder, name))
EOF
}

volume_names() { docker volume ls -q --filter "name=$N" | sort | xargs; }
only_volumes() { same "$*" "$(volume_names)"; }
no_helpers() { same '' "$(docker ps -aq --filter label=hatake.volume)"; }
labels_of() { docker volume inspect -f '{{json .Labels}} {{json .Options}}' "$1"; }

@test "all that files have comes back: owners, modes, times, links, devices, attributes, access lists, holes; and so do labels" {
    make_volume "$N"
    hatake volume backup "$N" "$N.backup"
    hatake volume restore "$N-2" "$N.backup"
    diff <(all_of "$(data_of "$N")") <(all_of "$(data_of "$N-2")")
    same "$(labels_of "$N")" "$(labels_of "$N-2")"
    same 600 "$(stat -c %a "$N.backup")"
    no_helpers
    # Standard programs read it.
    zstd -qdc "$N.backup" | tar -t | grep -qx v/plain
    # Through pipes, and encrypted.
    echo "a passphrase" >pass
    hatake -q volume backup --passphrase-file pass "$N" - | cat | hatake -q volume restore --passphrase-file pass "$N-3" -
    diff <(all_of "$(data_of "$N")") <(all_of "$(data_of "$N-3")")
    same "$(labels_of "$N")" "$(labels_of "$N-3")"
    only_volumes "$N" "$N-2" "$N-3"
}

@test "in use: refused with the user's name, or the user is paused for the time; who only reads does not matter" {
    docker volume create "$N" >/dev/null
    docker run -d --name "$N-writer" -v "$N:/d" busybox sh -c 'i=0; while :; do i=$((i+1)); echo $i >/d/a; echo $i >/d/b; done' >/dev/null
    docker run -d --name "$N-reader" -v "$N:/d:ro" busybox sleep 1000 >/dev/null
    poll test -s "$(data_of "$N")/b"
    run -1 hatake volume backup "$N" out
    contains "$output" "volume $N is in use by $N-writer: stop what uses it, or pause it for the time with --pause"
    [ ! -e out ]
    no_helpers
    hatake volume backup --pause "$N" out
    same running "$(state_of "$N-writer")"
    hatake volume restore "$N-copy" out
    # What is written in turns differs by one at most, and is whole.
    read -r a <"$(data_of "$N-copy")/a" || a=0
    read -r b <"$(data_of "$N-copy")/b" || b=0
    [ -z "$a" ] || [ -z "$b" ] || [ "$a" = 0 ] || [ "$b" = 0 ] || [ $((a - b)) = 0 ] || [ $((a - b)) = 1 ] || fail "$a and $b"
    # Paused by others: stays so.
    docker pause "$N-writer" >/dev/null
    hatake volume backup "$N" out
    same paused "$(state_of "$N-writer")"
    docker rm -f "$N-writer" >/dev/null
    hatake volume backup "$N" out
    run -1 hatake volume restore --force "$N" out
    contains "$output" "volume $N is in use by $N-reader: stop what uses it first"
    docker rm -f "$N-reader" >/dev/null
    no_helpers
}

@test "a volume that is there: refused unless it is empty or --force is given; it keeps its labels, and its stopped users find the data" {
    make_volume "$N"
    hatake volume backup "$N" out
    docker volume create --label mine=1 "$N-2" >/dev/null
    docker create --name "$N-user" -v "$N-2:/d" busybox cat /d/plain >/dev/null
    hatake volume restore "$N-2" out
    diff <(all_of "$(data_of "$N")") <(all_of "$(data_of "$N-2")")
    same '{"mine":"1"} null' "$(labels_of "$N-2")"
    same hello "$(docker start -a "$N-user")"
    echo other >"$(data_of "$N-2")/other"
    run -1 hatake volume restore "$N-2" out
    contains "$output" "volume $N-2 is there and not empty: choose another name, or replace what it holds with --force"
    same other "$(cat "$(data_of "$N-2")/other")"
    hatake volume restore --force "$N-2" out
    diff <(all_of "$(data_of "$N")") <(all_of "$(data_of "$N-2")")
    only_volumes "$N" "$N-2"
    no_helpers
    run -1 hatake volume restore "$N/3" out
    run -1 hatake volume backup "$N-nosuch" out2
    contains "$output" "get $N-nosuch: no such volume"
    [ ! -e out2 ]
}

@test "damaged, cut off, foreign, wrong passphrase: nothing is left, whether it comes from a file or by a pipe" {
    local size what
    make_volume "$N"
    head -c 3000000 /dev/urandom >"$(data_of "$N")/noise"
    echo right >pass
    echo wrong >wrong
    hatake volume backup "$N" plain
    hatake volume backup --passphrase-file pass "$N" sealed
    for what in plain sealed; do
        size=$(stat -c %s $what)
        head -c $((size / 2)) $what >"cut.$what"
        head -c $((size - 1)) $what >"almost.$what"
        cp $what "changed.$what"
        printf '\xa5\x5a\xa5\x5a' | dd of="changed.$what" bs=1 seek=$((size / 3)) conv=notrunc status=none
        cat $what <(echo more) >"longer.$what"
    done
    for what in cut almost changed longer; do
        run -1 hatake volume restore "$N-bad" "$what.plain"
        contains "$output" "the backup is"
        run -1 sh -c "cat $what.plain | '$HATAKE' volume restore '$N-bad' -"
        contains "$output" "the backup is"
        run -1 sh -c "cat $what.sealed | '$HATAKE' volume restore --passphrase-file pass '$N-bad' -"
        contains "$output" "the backup is"
        run -1 hatake volume restore --passphrase-file pass "$N-bad" "$what.sealed"
        contains "$output" "the backup is"
        only_volumes "$N"
    done
    run -1 hatake volume restore --passphrase-file wrong "$N-bad" sealed
    contains "$output" "the passphrase is wrong, or the backup is damaged"
    run -1 hatake volume restore "$N-bad" sealed
    contains "$output" "the backup is encrypted"
    run -1 hatake volume restore --passphrase-file pass "$N-bad" plain
    contains "$output" "the backup is not encrypted"
    run -1 hatake volume restore "$N-bad" "$BATS_TEST_FILENAME"
    contains "$output" "this is no backup of a volume"
    # Two things on one input.
    run -1 sh -c "cat sealed | '$HATAKE' volume restore --passphrase-file - '$N-bad' -"
    contains "$output" "standard input is the backup or the passphrase, not both"
    only_volumes "$N"
    no_helpers
    hatake volume restore --passphrase-file - "$N-good" sealed <pass
    diff <(all_of "$(data_of "$N")") <(all_of "$(data_of "$N-good")")
}

has_stage() { docker volume ls -q --filter "name=$1.restoring-" | grep -q .; }
is_filling() { has_stage "$1" && find "$ENGINE_ROOT"/volumes/"$1".restoring-*/_data/ -name noise -size +0 | grep -q .; }

# begin_restore NAME: half of a backup goes into a restore that waits for the rest. Sets RESTORE.
begin_restore() {
    mkfifo pipe
    "$HATAKE" volume restore "$1" - <pipe 3>&- 4>&- &
    RESTORE=$!
    exec 7>pipe
    head -c 20000000 out >&7
    poll is_filling "$1"
}

@test "a restore that is interrupted leaves nothing; one that is killed leaves nothing of that name, and --force goes over it" {
    docker volume create "$N" >/dev/null
    head -c 40000000 /dev/urandom >"$(data_of "$N")/noise"
    hatake volume backup "$N" out
    begin_restore "$N-new"
    # Not there, not even while it is on its way.
    run -1 docker volume inspect "$N-new"
    kill -INT $RESTORE
    exec 7>&-
    job_ends 130 $RESTORE
    only_volumes "$N"
    no_helpers
    rm pipe
    begin_restore "$N-new"
    kill -KILL $RESTORE
    exec 7>&-
    job_ends 137 $RESTORE
    run -1 docker volume inspect "$N-new"
    run -1 hatake volume restore "$N-new" out
    contains "$output" "volume $N-new is being restored already; if that was killed, --force takes away what it left"
    hatake volume restore --force "$N-new" out
    only_volumes "$N" "$N-new"
    no_helpers
    cmp "$(data_of "$N")/noise" "$(data_of "$N-new")/noise"
}

@test "a backup that is interrupted lets the paused go on and leaves no file; what goes on meanwhile makes it fail" {
    docker volume create "$N" >/dev/null
    head -c 20000000 /dev/urandom >"$(data_of "$N")/noise"
    docker run -d --name "$N-user" -v "$N:/d" busybox sleep 1000 >/dev/null
    mkfifo pipe
    exec 7<>pipe
    "$HATAKE" volume backup --pause "$N" - >pipe 2>said 7>&- 3>&- &
    backup=$!
    poll is_state "$N-user" paused
    kill -TERM $backup
    job_ends 143 $backup
    exec 7>&-
    same running "$(state_of "$N-user")"
    no_helpers
    # Unpaused by somebody else in the middle.
    "$HATAKE" volume backup --pause "$N" - >pipe 2>said 3>&- &
    backup=$!
    exec 8<pipe
    poll is_state "$N-user" paused
    docker unpause "$N-user" >/dev/null
    cat <&8 >taken
    job_ends 1 $backup
    exec 8<&-
    contains "$(cat said)" "container $N-user was unpaused meanwhile"
    run -1 hatake volume restore "$N-2" taken
    contains "$output" "the backup is cut off"
    only_volumes "$N"
    no_helpers
}

@test "volumes with a device are filled where they are; --plain makes folders of them" {
    docker volume create -o type=tmpfs -o device=tmpfs -o o=size=10m "$N" >/dev/null
    docker run -d --name "$N-user" -v "$N:/d" busybox sh -c 'echo here >/d/f; sleep 1000' >/dev/null
    poll docker exec "$N-user" test -s /d/f
    hatake volume backup --pause "$N" out
    hatake volume restore "$N-2" out
    same "$(docker volume inspect -f '{{json .Options}}' "$N")" "$(docker volume inspect -f '{{json .Options}}' "$N-2")"
    hatake volume restore --plain "$N-3" out
    same null "$(docker volume inspect -f '{{json .Options}}' "$N-3")"
    same here "$(cat "$(data_of "$N-3")/f")"
    docker rm -f "$N-user" >/dev/null
    no_helpers
}

@test "another engine of the API: the same commands, without what its archives leave out" {
    [ -n "${REFERENCE_HOST-}" ] || skip "no reference in this lab"
    local host=$REFERENCE_HOST
    there() { "$CLI" -H "$host" "$@"; }
    there image inspect busybox >/dev/null 2>&1 || there load -qi "$IMAGES/busybox/docker.tar" >/dev/null
    export HATAKE_HOST=$host
    hatake volume create -l a=b "$N" >/dev/null
    there run --rm -v "$N:/d" busybox sh -c 'echo hi >/d/f; ln /d/f /d/g; chown 5:6 /d; chmod 700 /d'
    there run -d --name "$N-user" -v "$N:/d" busybox sleep 1000 >/dev/null
    run -1 hatake volume backup "$N" out
    contains "$output" "volume $N is in use by $N-user"
    hatake volume backup --pause "$N" out
    there rm -f "$N-user" >/dev/null
    hatake volume restore "$N-2" out
    run -1 hatake volume restore "$N-2" out
    contains "$output" "is there and not empty"
    hatake volume restore --force "$N-2" out
    same "hi 5 6 700" "$(there run --rm -v "$N-2:/d" busybox sh -c 'echo $(cat /d/g) $(stat -c "%u %g %a" /d)')"
    same b "$(there volume inspect -f '{{.Labels.a}}' "$N-2")"
    head -c 100 out >cut
    run -1 hatake volume restore "$N-3" - <cut
    hatake volume rm "$N" "$N-2"
    same '' "$(there volume ls -q --filter "name=$N")"
    same '' "$(there ps -aq --filter label=hatake.volume)"
    # And from one engine to the other.
    HATAKE_HOST=$ENGINE_HOST hatake volume restore "$N-here" out
    same hi "$(cat "$(data_of "$N-here")/f")"
}

@test "the other verbs: create, ls, inspect, rm, prune" {
    same "$N" "$(hatake volume create -l x=y -o size=0 "$N")"
    contains "$(hatake volume ls)" "$N"
    same "$N" "$(hatake volume list -q --filter "name=$N")"
    contains "$(hatake volume ls --json --filter label=x=y)" '"x": "y"'
    contains "$(hatake volume inspect "$N")" '"size": "0"'
    run -1 hatake volume inspect "$N-nosuch"
    same "$N" "$(hatake volume rm "$N")"
    run -1 hatake volume rm "$N"
    hatake volume rm -f "$N"
    docker volume create --label "prune=$N" "$N" >/dev/null
    same '' "$(hatake -q volume prune --filter "label=prune=$N")"
    same "$N" "$(hatake -q volume prune --all --filter "label=prune=$N")"
    run -1 hatake volume
    contains "$output" "volume backup"
    run -1 hatake volume nosuch
    run -0 hatake help volume
    contains "$output" "volume restore"
}
