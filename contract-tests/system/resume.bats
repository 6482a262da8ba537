#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Downloads that break off: they go on where they stopped, in the same pull, the next one, or the next life of the engine. In a lab of its own.
load helpers

setup_file() {
    only_ours_file "it begins anew" || return 0
    own_lab engine
}
setup() {
    begin_test
    STATE=$BATS_TEST_TMPDIR/state
    mkdir "$STATE"
    request GET /_ping || own_start
}
teardown() {
    [ -n "${N-}" ] || return 0
    docker rmi -f "$FROM" >/dev/null 2>&1 || true
    end_jobs
    remove_ours
}

# registry IMAGE MODE...: serve it, with the link behaving like that. Sets FROM.
registry() {
    local image=$1
    shift
    mode "$@"
    ip netns exec "$SUBJECT_NETNS" "$BATS_TEST_DIRNAME/test-registry" "$STATE" 127.0.0.1 "$image=$IMAGES/$image/oci" >&2 3>&- &
    poll test -e "$STATE/ready"
    FROM=127.0.0.1:$(cat "$STATE/ready")/$image:latest
    LAYERS=$(/usr/bin/python3 -c '
import json, sys
def blob(digest):
    with open(sys.argv[1] + "/blobs/" + digest.replace(":", "/")) as f:
        return json.load(f)
with open(sys.argv[1] + "/index.json") as f:
    print(sum(layer["size"] for layer in blob(json.load(f)["manifests"][0]["digest"])["layers"]))' "$IMAGES/$image/oci")
}
mode() { echo "{\"link\": \"$*\"}" >"$STATE/rules.new" && mv "$STATE/rules.new" "$STATE/rules"; }
served() { awk '{ n += $2 } END { print n + 0 }' "$STATE/served"; }
partials() { find "$ENGINE_ROOT/content/partial" -type f; }
no_partials() { [ -z "$(partials)" ]; }
partial_bytes() { partials | xargs -r stat -c %s | awk '{ n += $1 } END { print n + 0 }'; }
all_served() { [ "$(served)" -ge "$LAYERS" ]; }
# at_most_once: what came over the link is the image, and no more than 1.05 times that
at_most_once() {
    poll all_served
    [ "$(served)" -le $((LAYERS * 105 / 100)) ] || fail "$(served) bytes for an image of $LAYERS"
}
# the layer's archive as the engine makes it again has the digest it was pulled by
is_whole() { docker save "$FROM" | tar -t >/dev/null; }

@test "a link cut again and again: one pull, no byte twice" {
    registry layers12 cut 2200000
    docker pull -q "$FROM"
    at_most_once
    is_whole
    no_partials || fail "left: $(partials)"
}

@test "a pull that failed half-way: the next one fetches the other half" {
    registry layers12 half
    run -1 docker pull "$FROM"
    [ "$(partial_bytes)" -gt 0 ]
    mode fine
    docker pull -q "$FROM"
    at_most_once
    is_whole
    no_partials || fail "left: $(partials)"
}

@test "the engine is killed in mid-download: the next one goes on" {
    registry debian stall 9000000
    "$CLI" -H "$ENGINE_HOST" pull "$FROM" >&2 3>&- &
    poll eval '[ "$(partial_bytes)" -ge 9000000 ]'
    own_kill
    own_start
    [ "$(partial_bytes)" -ge 9000000 ]
    mode fine
    docker pull -q "$FROM"
    at_most_once
    is_whole
    no_partials || fail "left: $(partials)"
}

@test "a client that leaves leaves nothing" {
    registry debian stall 9000000
    "$CLI" -H "$ENGINE_HOST" pull "$FROM" >&2 3>&- &
    local client=$!
    poll eval '[ "$(partial_bytes)" -ge 9000000 ]'
    kill -KILL $client
    poll no_partials
    same '' "$(docker images -aq)"
    poll eval '[ -z "$(find "$ENGINE_ROOT/overlay2" -maxdepth 1 \( -name "tmp-*" -o -name "gone-*" \))" ]'
}

@test "an unfinished download that has gone bad is found out and fetched anew" {
    local f
    registry debian half
    run -1 docker pull "$FROM"
    f=$(partials)
    [ -f "$f" ]
    dd if=/dev/urandom of="$f" bs=4096 seek=100 count=4 conv=notrunc status=none
    mode fine
    docker pull -q "$FROM"
    is_whole
    no_partials || fail "left: $(partials)"
}

@test "a registry that lies about ranges: the right bytes in the end, and no others ever" {
    local lie
    registry debian fine
    for lie in whole shifted other; do
        mode half
        run -1 docker pull "$FROM"
        [ "$(partial_bytes)" -gt 0 ]
        mode "$lie"
        if docker pull -q "$FROM"; then
            is_whole
            docker rmi "$FROM"
        else
            same '' "$(docker images -aq)" "$lie"
        fi
        mode fine
        docker pull -q "$FROM"
        is_whole
        no_partials || fail "$lie left: $(partials)"
        docker rmi "$FROM"
    done
}

@test "wrong bytes are not kept" {
    registry debian wrong
    run -1 docker pull "$FROM"
    no_partials || fail "left: $(partials)"
    same '' "$(docker images -aq)"
    mode fine
    docker pull -q "$FROM"
    is_whole
}

@test "what was pulled is pushed elsewhere as the same bytes, while they are there and right" {
    local to=127.0.0.1:$((20000 + RANDOM % 20000))/up:v1 up=$BATS_TEST_TMPDIR/up blob
    mkdir "$up"
    ip netns exec "$SUBJECT_NETNS" "$BATS_TEST_DIRNAME/upload-registry" "$up" 127.0.0.1 "$(echo "$to" | tr -dc 0-9: | cut -d: -f2)" >&2 3>&- &
    poll test -e "$up/ready"
    registry layers12 fine
    docker pull -q "$FROM"
    docker tag "$FROM" "$to"
    pulled_came() { /usr/bin/python3 - "$up" "$IMAGES/layers12/oci" <<'END'
import hashlib, json, os, sys
up, image = sys.argv[1:]
def blob(digest):
    with open(image + "/blobs/" + digest.replace(":", "/"), "rb") as f:
        return f.read()
with open(image + "/index.json", encoding="utf-8") as f:
    manifest = json.loads(blob(json.load(f)["manifests"][0]["digest"]))
with open(up + "/manifests/v1", encoding="utf-8") as f:
    pushed = json.load(f)
assert pushed["config"]["digest"] == manifest["config"]["digest"]
same = [l["digest"] for l in pushed["layers"]] == [l["digest"] for l in manifest["layers"]]
for l in pushed["layers"]:
    with open(up + "/blobs/" + l["digest"][7:], "rb") as f:
        assert hashlib.sha256(f.read()).hexdigest() == l["digest"][7:]
print("same" if same else "other")
END
    }
    docker push -q "$to"
    same same "$(pulled_came)"
    # Of one the bits have rotted: it is compressed anew.
    rm -r "${up:?}"/blobs/*
    blob=$(find "$ENGINE_ROOT/overlay2" -name blob -size +1M | sort | head -n 1)
    dd if=/dev/urandom of="$blob" bs=4096 seek=100 count=4 conv=notrunc status=none
    docker push -q "$to"
    same other "$(pulled_came)"
    [ ! -e "$blob" ]
    # Nothing is left of them where room is asked for.
    docker image prune -f >&2
    same '' "$(find "$ENGINE_ROOT/overlay2" -name blob)"
    is_whole
    docker rmi "$to" >&2
}
