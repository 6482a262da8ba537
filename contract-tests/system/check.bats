#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# `hataked check`: a store after ordinary work is clean; each kind of damage is found, and mended where nobody's data is lost. In a lab of its own.
load helpers

setup_file() {
    only_ours_file "it has no such verb" || return 0
    own_lab engine
    docker load -q -i "$("$CI/images" path busybox)" >&2
    many_layers 70 # a load must bear a store with many
    docker load -q -i "$("$CI/images" path semantics)" >&2
    docker create --name keeper -v kept:/v busybox true >&2
    docker run --name writer busybox sh -c 'echo data >/x' >&2
    own_end
}
teardown() {
    [ -n "${N-}" ] || return 0
    if request GET /_ping 2>/dev/null; then own_end; fi
}

# many_layers N: images of one small layer each
many_layers() {
    local n
    for n in $(seq "$1"); do
        echo "$n" >"$BATS_FILE_TMPDIR/f"
        tar -C "$BATS_FILE_TMPDIR" -c f | curl -sS --unix-socket "${ENGINE_HOST#unix://}" -H 'Content-Type: application/x-tar' --data-binary @- \
            "http://engine/images/create?fromSrc=-&repo=many&tag=$n" >/dev/null
    done
}
check() { run -"$1" "$HATAKED" check --data-root "$ENGINE_ROOT" "${@:2}"; }
sql() { /usr/bin/python3 -c 'import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); print("\n".join("|".join(map(str, r)) for r in c.execute(sys.argv[2]))); c.commit()' "$ENGINE_ROOT/engine.db" "$1"; }
# the folder of the top layer of the image with that name, and tag if it is not latest
folder_of() { sql "SELECT cache_id FROM layer JOIN image ON image.top = layer.chain_id JOIN image_name ON image_name.image = image.id WHERE image_name.name LIKE '%/$1:${2-latest}'"; }
hex() { head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n'; }

@test "after ordinary work nothing is wrong, down to the last bit" {
    check 0 --bits
    same "0 problems, 0 mended" "$output"
}

@test "a running engine is not disturbed" {
    own_start
    check 2
    contains "$output" "an engine runs"
}

@test "wrong use, and what is no data root" {
    run -2 "$HATAKED" check --nonsense
    run -2 "$HATAKED" check --data-root "$BATS_TEST_TMPDIR"
    contains "$output" "is no data root"
}

@test "strays: found, left alone, removed with --repair; data of users is named and kept" {
    local home=$ENGINE_ROOT/overlay2 a b c d
    a=$(hex) b=$(hex) c=$(hex) d=$(hex)
    mkdir -p "$home/$a/diff" "$home/tmp-left" "$home/$b/diff" "$home/$b/merged" "$ENGINE_ROOT/containers/$c" "$ENGINE_ROOT/volumes/stray/_data"
    echo data >"$home/$b/diff/written"
    ln -s "../$d/diff" "$home/l/STRAYSTRAYSTRAYSTRAYSTRAYS"
    echo x >"$ENGINE_ROOT/content/partial/nonsense"
    check 1
    contains "$output" "$home/$a: belongs to no layer and no container"
    contains "$output" "$home/tmp-left: belongs to no layer"
    contains "$output" "l/STRAYSTRAYSTRAYSTRAYSTRAYS: is the short name of nothing"
    contains "$output" "containers/$c: belongs to no container"
    contains "$output" "volumes/stray: belongs to no volume"
    contains "$output" "content/partial/nonsense: is no unfinished download"
    contains "$output" "7 problems, 0 mended"
    check 1 --repair
    contains "$output" "7 problems, 5 mended"
    check 1
    contains "$output" "2 problems, 0 mended"
    [ -e "$home/$b/diff/written" ]
    rm -r "${home:?}/$b" "$ENGINE_ROOT/volumes/stray"
    check 0 --bits
}

@test "a short name that is gone is made again" {
    local link
    link=$(cat "$ENGINE_ROOT/overlay2/$(folder_of busybox)/link")
    rm "$ENGINE_ROOT/overlay2/l/$link"
    check 1
    contains "$output" "its short name l/$link is not there"
    check 0 --repair
    check 0
    own_start
    same ok "$(docker run --rm busybox echo ok)"
}

@test "a layer that is gone, or whose bits have rotted: its image is forgotten and can be loaded again" {
    local top
    top=$(folder_of semantics)
    rm -r "$ENGINE_ROOT/overlay2/${top:?}/diff"
    check 1
    contains "$output" "its folder is not there"
    check 0 --repair
    contains "$output" "forgotten"
    check 0 --bits
    own_start
    run -1 docker image inspect semantics
    docker load -q -i "$("$CI/images" path semantics)" >&2
    own_end
    check 0 --bits
    # One bit of one file, times and size as they were.
    /usr/bin/python3 - "$(find "$ENGINE_ROOT/overlay2" -path '*/diff/*' -type f -size +100c | grep -v -e "$(folder_of busybox)" -e -init/ | sort | head -n 1)" <<'END'
import os, sys
path = sys.argv[1]
st = os.stat(path)
with open(path, "r+b") as f:
    f.seek(50)
    byte = f.read(1)
    f.seek(50)
    f.write(bytes([byte[0] ^ 1]))
os.utime(path, ns=(st.st_atime_ns, st.st_mtime_ns))
END
    check 0
    check 1 --bits
    contains "$output" "its contents have changed"
    check 0 --bits --repair
    check 0 --bits
}

@test "a blob kept beside its layer: found when it has changed or belongs to nothing; its layer is whole without it" {
    local folder
    folder=$ENGINE_ROOT/overlay2/$(folder_of busybox)
    echo stray >"$folder/blob"
    check 1
    contains "$output" "$folder/blob: no layer came from it"
    check 0 --repair
    [ ! -e "$folder/blob" ]
    echo blob >"$folder/blob"
    /usr/bin/python3 - "$ENGINE_ROOT/engine.db" "${folder##*/}" "$(sha256sum <"$folder/blob" | cut -d' ' -f1)" <<'END'
import sqlite3, sys
with sqlite3.connect(sys.argv[1]) as db:
    assert db.execute("UPDATE layer SET blob=? WHERE cache_id=?", ("sha256:" + sys.argv[3], sys.argv[2])).rowcount == 1
END
    check 0 --bits
    echo rot >"$folder/blob"
    check 1 --bits
    contains "$output" "the blob kept with it has changed"
    check 0 --bits --repair
    check 0 --bits
}

@test "what no digest of bytes shows: modes, links, what is gone, what came from elsewhere" {
    local diff file
    own_start
    docker import - "$N:plain" < <("$BATS_TEST_DIRNAME/odd-images" tar "$BATS_TEST_TMPDIR/tar" && cat "$BATS_TEST_TMPDIR/tar/layer.tar")
    own_end
    check 0 --bits
    diff=$ENGINE_ROOT/overlay2/$(folder_of "$N" plain)/diff
    # found WORDS: now, and not any more once the layer is as it was
    found() {
        check 0
        check 1 --bits
        contains "$output" "$1"
    }
    chmod 711 "$diff/d/suid"
    found '/d/suid has another mode'
    chmod 4711 "$diff/d/suid"
    ln -sf /elsewhere "$diff/link"
    found '/link leads elsewhere'
    ln -sf d/file "$diff/link"
    mv "$diff/link" "$BATS_TEST_TMPDIR/link"
    found '/link is gone'
    mv "$BATS_TEST_TMPDIR/link" "$diff/link"
    rmdir "$diff/empty"
    found '/empty is gone'
    echo x >"$diff/empty"
    found '/empty is of another kind'
    rm "$diff/empty"
    mkdir "$diff/empty"
    chmod 755 "$diff/empty"
    mkdir -p "$diff/d/new"
    echo x >"$diff/d/new/file"
    found '/d/new is not of the layer'
    contains "$output" '/d/new/file is not of the layer'
    rm -r "$diff/d/new"
    file=$(find "$diff" -type c)
    rm "$file"
    found 'is gone'
    mknod "$file" c 0 0
    check 0 --bits
    # With --repair its image is forgotten, as one whose bytes have changed.
    echo x >"$diff/stray"
    check 1 --bits
    check 0 --bits --repair
    check 0 --bits
}

@test "a layer that containers stand on is kept, whatever is wrong with it" {
    local top
    top=$(folder_of busybox)
    mv "$ENGINE_ROOT/overlay2/$top/framing" "$BATS_TEST_TMPDIR/framing"
    check 1 --repair
    contains "$output" "the record of its archive is not there"
    contains "$output" "container(s) stand on it"
    mv "$BATS_TEST_TMPDIR/framing" "$ENGINE_ROOT/overlay2/$top/framing"
    check 0 --bits
}

@test "an image's configuration that changed" {
    sql "CREATE TABLE kept AS SELECT id, document FROM image"
    sql "UPDATE image SET document = CAST('{}' AS BLOB) WHERE id = (SELECT image FROM image_name WHERE name LIKE '%/busybox:latest')"
    check 1
    contains "$output" "its configuration has changed"
    sql "UPDATE image SET document = (SELECT document FROM kept WHERE kept.id = image.id)"
    sql "DROP TABLE kept"
    check 0
}
