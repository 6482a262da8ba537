#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Other people's tools as judges: skopeo, buildah and umoci read what is saved and pushed here, and what they write is read here. Each image keeps its digest
# and every layer its bytes, whichever way it goes.
load helpers

setup_file() {
    WORK=$BATS_FILE_TMPDIR
    export WORK
    # The tools run on the registry's network; only engines know its names.
    PEER_REGISTRY=$(nsenter -t "$ENGINE_HOLDER_PID" -m -n getent ahostsv4 "${REGISTRY%:*}" | awk 'NR == 1 { print $1 }'):${REGISTRY##*:}
    export PEER_REGISTRY
    need_image semantics configured
    docker save -o "$WORK/saved.tar" semantics
    mkdir "$WORK/layout"
    tar -C "$WORK/layout" -xf "$WORK/saved.tar"
    docker tag semantics "$REGISTRY/peers/$$:v1"
    docker push -q "$REGISTRY/peers/$$:v1"
    PUSHED=peers/$$:v1
    export PUSHED
}
setup() {
    begin_test
    ID=$(docker image inspect -f '{{.Id}}' semantics)
}
teardown() {
    [ -n "${N-}" ] || return 0
    end_jobs
    remove_ours
    docker images --filter "reference=$REGISTRY/peers/*" --format '{{.Repository}}:{{.Tag}}' | grep -v "$PUSHED" | xargs -r "$CLI" -H "$ENGINE_HOST" rmi -f >/dev/null 2>&1 || true
}
teardown_file() {
    [ -z "${PUSHED-}" ] || docker rmi "$REGISTRY/$PUSHED" >/dev/null 2>&1 || true
}

need_tool() {
    local tool
    for tool in "$@"; do
        command -v "$tool" >/dev/null || skip "$tool is not installed (ci/packages test)"
    done
}
skopeo() { ip netns exec "$REGISTRY_NETNS" skopeo "$@"; }
buildah() { ip netns exec "$REGISTRY_NETNS" buildah --root "$WORK/store" --runroot "$WORK/run" --storage-driver vfs "$@"; }

# whole FOLDER ID [MAGIC]: a folder that skopeo wrote (dir:) is the image of that id: configuration, blobs, layers by diff ID; each layer begins with these bytes
whole() {
    /usr/bin/python3 - "$@" <<'END'
import hashlib, json, subprocess, sys
folder, image, magic = (sys.argv[1:] + [""])[:3]
def blob(digest):
    with open(f"{folder}/{digest.split(':')[1]}", "rb") as f:
        data = f.read()
    assert "sha256:" + hashlib.sha256(data).hexdigest() == digest, digest
    return data
def plain(data):
    for head, tool in ((b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd")):
        if data.startswith(head):
            return subprocess.run([tool, "-dc"], input=data, stdout=subprocess.PIPE, check=True).stdout
    return data
manifest = json.load(open(folder + "/manifest.json"))
assert manifest["config"]["digest"] == image, (manifest["config"]["digest"], image)
layers = [blob(layer["digest"]) for layer in manifest["layers"]]
found = ["sha256:" + hashlib.sha256(plain(data)).hexdigest() for data in layers]
assert found == json.loads(blob(image))["rootfs"]["diff_ids"], found
assert all(data.startswith(bytes.fromhex(magic)) for data in layers), [data[:4].hex() for data in layers]
END
}

# pulled_is NAME ID: the engine gets it from the registry, and it is that image
pulled_is() {
    docker pull -q "$REGISTRY/$1"
    same "$2" "$(docker image inspect -f '{{.Id}}' "$REGISTRY/$1")" "id of $1"
}
# What a folder holds, without what an engine puts into every container, and without the one thing on which tools differ: a layer with a folder where one below
# has a symbolic link. Engines replace the link, umoci follows it.
inventory() {
    (cd "$1" && find . -mindepth 1 \( -path ./dev -o -path ./proc -o -path ./sys -o -path './s/linkdir*' \) -prune -o \
        ! -path ./.dockerenv ! -path ./etc ! -path ./etc/hosts ! -path ./etc/hostname ! -path ./etc/resolv.conf ! -path ./etc/mtab \
        -printf '%P %y %m %U:%G %n %l\n' | sed 's/^\(.* d .*:[0-9]*\) [0-9]* $/\1/' | sort
    find . \( -path ./dev -o -path ./proc -o -path ./sys -o -path './s/linkdir*' \) -prune -o -type f -size +0 ! -path ./etc/mtab -exec sha256sum {} + | sort -k 2)
}

@test "skopeo reads an archive that was saved" {
    skopeo copy -q "docker-archive:$WORK/saved.tar" "dir:$BATS_TEST_TMPDIR/d"
    whole "$BATS_TEST_TMPDIR/d" "$ID"
    same '["semantics:latest"]' "$(skopeo list-tags "docker-archive:$WORK/saved.tar" | /usr/bin/python3 -c 'import json, sys; print(json.dumps(json.load(sys.stdin)["Tags"]))')"
}

@test "skopeo reads the layout inside of it" {
    skopeo copy -q "oci:$WORK/layout:latest" "dir:$BATS_TEST_TMPDIR/d"
    whole "$BATS_TEST_TMPDIR/d" "$ID"
}

@test "skopeo reads what was pushed, under the digest that was told" {
    skopeo copy -q --src-tls-verify=false "docker://$PEER_REGISTRY/$PUSHED" "dir:$BATS_TEST_TMPDIR/d"
    whole "$BATS_TEST_TMPDIR/d" "$ID" 1f8b
    same "$(docker image inspect -f '{{join .RepoDigests "\n"}}' "$REGISTRY/$PUSHED" | grep "^$REGISTRY/${PUSHED%:*}@")" \
        "$REGISTRY/${PUSHED%:*}@$(skopeo inspect --tls-verify=false -f '{{.Digest}}' "docker://$PEER_REGISTRY/$PUSHED")"
}

@test "umoci unpacks it into the same files that a container sees" {
    need_tool umoci
    umoci unpack --image "$WORK/layout:latest" "$BATS_TEST_TMPDIR/bundle" >&2
    docker create --name "$N" semantics x
    mkdir "$BATS_TEST_TMPDIR/exported"
    docker export "$N" | tar -C "$BATS_TEST_TMPDIR/exported" --numeric-owner -xpf -
    inventory "$BATS_TEST_TMPDIR/exported" >"$BATS_TEST_TMPDIR/ours"
    [ "$(wc -l <"$BATS_TEST_TMPDIR/ours")" -gt 30 ]
    inventory "$BATS_TEST_TMPDIR/bundle/rootfs" | diff "$BATS_TEST_TMPDIR/ours" -
}

@test "buildah pulls and loads it: the same id" {
    need_tool buildah
    same "${ID#sha256:}" "$(buildah pull -q --tls-verify=false "$PEER_REGISTRY/$PUSHED")"
    same "${ID#sha256:}" "$(buildah pull -q "docker-archive:$WORK/saved.tar")"
}

@test "an archive that skopeo wrote: the same id, and saved again the same bytes" {
    skopeo copy -q "docker-archive:$WORK/saved.tar" "docker-archive:$BATS_TEST_TMPDIR/a.tar:peers/again:1"
    skopeo copy -q "docker-archive:$BATS_TEST_TMPDIR/a.tar" "dir:$BATS_TEST_TMPDIR/d"
    docker load -qi "$BATS_TEST_TMPDIR/a.tar"
    same "$ID" "$(docker image inspect -f '{{.Id}}' peers/again:1)"
    docker rmi peers/again:1
    [ "$SUBJECT" = reference ] || {
        docker save -o "$BATS_TEST_TMPDIR/again.tar" semantics
        cmp "$WORK/saved.tar" "$BATS_TEST_TMPDIR/again.tar"
    }
}

@test "what skopeo sends to a registry, as Docker's and as OCI's, gzip and zstd: the same id" {
    # Each form from its like: a configuration that is turned from one into the other is another image. By way of folders and with the digests preserved: else
    # skopeo sends what it remembers of the registry, compressed as it is there.
    local form from how
    for form in docker oci zstd; do
        from=oci:$WORK/layout:latest how=gzip
        [ $form != docker ] || from=docker-archive:$WORK/saved.tar
        [ $form != zstd ] || how=zstd
        skopeo copy -q --dest-compress --dest-compress-format $how "$from" "dir:$BATS_TEST_TMPDIR/sent-$form"
        whole "$BATS_TEST_TMPDIR/sent-$form" "$ID" "$([ $how = zstd ] && echo 28b52ffd || echo 1f8b)"
        skopeo copy -q --preserve-digests --dest-tls-verify=false "dir:$BATS_TEST_TMPDIR/sent-$form" "docker://$PEER_REGISTRY/peers/$$-$form:1"
    done
    # With nothing of it here that could stand in for what comes.
    docker rmi semantics "$REGISTRY/$PUSHED"
    for form in docker oci zstd; do
        pulled_is "peers/$$-$form:1" "$ID"
        docker save -o "$BATS_TEST_TMPDIR/$form.tar" "$REGISTRY/peers/$$-$form:1"
        skopeo copy -q "docker-archive:$BATS_TEST_TMPDIR/$form.tar" "dir:$BATS_TEST_TMPDIR/$form"
        whole "$BATS_TEST_TMPDIR/$form" "$ID"
        docker rmi "$REGISTRY/peers/$$-$form:1"
    done
    need_image semantics
    docker tag semantics "$REGISTRY/$PUSHED"
}

@test "layouts that skopeo wrote, gzip and zstd, are loaded" {
    only_ours "it loads no layouts"
    local form
    for form in gzip zstd; do
        skopeo copy -q --dest-compress-format $form "oci:$WORK/layout:latest" "oci-archive:$BATS_TEST_TMPDIR/$form.tar"
        docker rmi semantics "$REGISTRY/$PUSHED"
        contains "$(docker load -i "$BATS_TEST_TMPDIR/$form.tar")" "$ID"
        docker tag "$ID" semantics
        docker tag "$ID" "$REGISTRY/$PUSHED"
    done
}

@test "a layout with an index of platforms inside: this machine's, under the name that comes along" {
    only_ours "it loads no layouts"
    skopeo copy -q --all "oci:$IMAGES/multi/oci" "oci-archive:$BATS_TEST_TMPDIR/multi.tar:peers/multi:1"
    contains "$(docker load -i "$BATS_TEST_TMPDIR/multi.tar")" 'Loaded image: peers/multi:1'
    same linux/amd64 "$(docker image inspect -f '{{.Os}}/{{.Architecture}}' peers/multi:1)"
    contains "$(docker run --rm --network none --name "$N" peers/multi:1)" amd64
    docker rmi peers/multi:1
}

@test "what buildah built and sent: its id, its files, its command" {
    need_tool buildah
    local c id tool
    c=$(buildah from --pull-never scratch)
    tool=$(tar -xOf "$IMAGES/busybox/docker.tar" manifest.json | /usr/bin/python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["Layers"][0])')
    tar -xOf "$IMAGES/busybox/docker.tar" "$tool" >"$BATS_TEST_TMPDIR/rootfs.tar"
    buildah add -q "$c" "$BATS_TEST_TMPDIR/rootfs.tar" /
    echo "made by buildah" >"$BATS_TEST_TMPDIR/note"
    buildah copy -q "$c" "$BATS_TEST_TMPDIR/note" /note
    buildah config --cmd 'cat /note' --label peers=1 "$c"
    for form in docker oci; do
        buildah commit -q -f $form "$c" "peer-$form" >&2
        id=sha256:$(buildah inspect --type image -f '{{.FromImageID}}' "peer-$form")
        buildah push -q --tls-verify=false "peer-$form" "docker://$PEER_REGISTRY/peers/$$-built-$form:1"
        pulled_is "peers/$$-built-$form:1" "$id"
        same "made by buildah" "$(docker run --rm --name "$N" "$REGISTRY/peers/$$-built-$form:1")"
        docker rmi "$REGISTRY/peers/$$-built-$form:1"
    done
    buildah push -q peer-docker "docker-archive:$BATS_TEST_TMPDIR/b.tar:peers/built:1"
    docker load -qi "$BATS_TEST_TMPDIR/b.tar"
    same "sha256:$(buildah inspect --type image -f '{{.FromImageID}}' peer-docker)" "$(docker image inspect -f '{{.Id}}' peers/built:1)"
    docker rmi peers/built:1
}

@test "a layer that umoci added to what was saved" {
    need_tool umoci
    local id
    cp -r "$WORK/layout" "$BATS_TEST_TMPDIR/layout"
    umoci unpack --image "$BATS_TEST_TMPDIR/layout:latest" "$BATS_TEST_TMPDIR/bundle" >&2
    echo "added by umoci" >"$BATS_TEST_TMPDIR/bundle/rootfs/added"
    rm "$BATS_TEST_TMPDIR/bundle/rootfs/bin/ls"
    umoci repack --image "$BATS_TEST_TMPDIR/layout:more" "$BATS_TEST_TMPDIR/bundle" >&2
    skopeo copy -q --dest-tls-verify=false "oci:$BATS_TEST_TMPDIR/layout:more" "docker://$PEER_REGISTRY/peers/$$-umoci:1"
    id=sha256:$(skopeo inspect --config --raw "oci:$BATS_TEST_TMPDIR/layout:more" | sha256sum | cut -d' ' -f1)
    pulled_is "peers/$$-umoci:1" "$id"
    same "added by umoci" "$(docker run --rm --name "$N" "$REGISTRY/peers/$$-umoci:1" /bin/sh -c 'test ! -e /bin/ls && cat /added')"
}
