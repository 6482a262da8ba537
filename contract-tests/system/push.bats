#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Uploads: what arrives is the image, also over a link that breaks and from a registry that is busy.
load helpers

setup() {
    only_ours "it begins anew"
    begin_test
    STATE=$BATS_TEST_TMPDIR/state
    PORT=$((20000 + RANDOM % 20000))
    mkdir "$STATE"
    ip netns exec "$SUBJECT_NETNS" "$BATS_TEST_DIRNAME/upload-registry" "$STATE" 127.0.0.1 $PORT >&2 3>&- &
    SERVER=$!
    poll test -e "$STATE/ready"
    TO=127.0.0.1:$PORT/up:v1
    # Three megabytes that do not compress, and a layer of a few bytes on top; nobody has seen either.
    head -c 3000000 /dev/urandom >"$BATS_TEST_TMPDIR/big"
    tar -C "$BATS_TEST_TMPDIR" -c big | docker import - "$N" >&2
    docker create --name "$N" "$N" x >&2
    echo "$RANDOM" >"$BATS_TEST_TMPDIR/small"
    docker cp "$BATS_TEST_TMPDIR/small" "$N:/small" >&2
    docker commit "$N" "$TO" >&2
}
teardown() {
    kill "${SERVER:-}" 2>/dev/null || true
    docker rm -f "$N" >/dev/null 2>&1 || true
    docker rmi -f "$TO" "$N" >/dev/null 2>&1 || true
}

sent() { awk '$1 == "PATCH" || $1 == "PUT" { n += $3 } END { print n + 0 }' "$STATE/log"; }
# arrived: manifest and blobs fit each other, and each layer is the archive that the configuration names
arrived() {
    /usr/bin/python3 - "$STATE" "$(docker image inspect -f '{{.Id}} {{json .RootFS.Layers}}' "$TO")" <<'END'
import gzip, hashlib, json, sys
state, (image, layers) = sys.argv[1], sys.argv[2].split(" ", 1)
def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()
def blob(d):
    with open(state + "/blobs/" + d["digest"][7:], "rb") as f:
        data = f.read()
    assert digest(data) == d["digest"] and len(data) == d["size"], d
    return data
with open(state + "/manifests/v1", "rb") as f:
    manifest = json.load(f)
assert digest(blob(manifest["config"])) == image
assert [digest(gzip.decompress(blob(layer))) for layer in manifest["layers"]] == json.loads(layers)
END
}

@test "a good link: each byte once, and the same bytes each time" {
    docker push -q "$TO"
    arrived
    local first
    first=$(ls "$STATE/blobs")
    [ "$(sent)" -le 3200000 ] || fail "$(sent) bytes"
    # Sent again from nothing it is the same to the byte.
    rm "$STATE"/blobs/* "$STATE/log"
    docker push -q "$TO"
    arrived
    same "$first" "$(ls "$STATE/blobs")"
}

@test "a link cut again and again: the upload goes on where it broke" {
    echo "cut 900000" >"$STATE/mode"
    docker push -q "$TO"
    arrived
    [ "$(sent)" -le 3200000 ] || fail "$(sent) bytes for 3,000,000"
    [ "$(grep -c ^PATCH "$STATE/log")" -ge 3 ]
}

@test "a registry that forgets broken uploads: another attempt" {
    echo "cut 2000000 forget" >"$STATE/mode"
    docker push "$TO" >"$BATS_TEST_TMPDIR/out" 2>&1 3>&- &
    local job=$!
    poll grep -q "^PATCH" "$STATE/log"
    echo "" >"$STATE/mode"
    job_ends 0 $job
    arrived
}

@test "uploads that are to go elsewhere: they do, and the credentials stay" {
    echo elsewhere >"$STATE/mode"
    request POST "/v1.45/images/127.0.0.1:$PORT/up/push?tag=v1" '' "X-Registry-Auth: $(printf '{"username": "me", "password": "secret"}' | base64 -w0 | tr '+/' '-_')"
    [[ $BODY == *'"aux"'* ]] || fail "$BODY"
    arrived
    grep -q '^\(PATCH\|PUT\) .* 127.0.0.2:.* no$' "$STATE/log" || fail "nothing went there: $(cat "$STATE/log")"
    same '' "$(grep ' 127.0.0.2:.* yes$' "$STATE/log")"
    grep -q '^PUT .*/manifests/.* 127.0.0.1:.* yes$' "$STATE/log"
}

@test "no more uploads at a time than configured" {
    local i layers=()
    for i in 1 2 3 4 5 6 7; do layers+=("{\"f$i\": \"$RANDOM$RANDOM\"}"); done
    docker rmi "$TO" >&2
    "$BATS_TEST_DIRNAME/make-archive" "$BATS_TEST_TMPDIR/seven.tar" "$TO" "${layers[@]}"
    docker load -qi "$BATS_TEST_TMPDIR/seven.tar" >&2
    touch "$STATE/hold"
    docker push "$TO" >"$BATS_TEST_TMPDIR/out" 2>&1 3>&- &
    local job=$!
    poll eval '[ "$(grep -c Waiting "$BATS_TEST_TMPDIR/out")" -ge 2 ] && grep -q 5 "$STATE/most"'
    rm "$STATE/hold"
    job_ends 0 $job
    arrived
    same 5 "$(cat "$STATE/most")"
}

@test "a client that leaves ends it" {
    echo "cut 100000" >"$STATE/mode"
    docker push "$TO" >/dev/null 2>&1 3>&- &
    local job=$!
    poll grep -q "^PATCH" "$STATE/log"
    kill $job
    wait $job || true
    echo "" >"$STATE/mode"
    docker push -q "$TO"
    arrived
}

# The image comes back from the registry, which then loses its blobs. KEPT: the large one, beside its layer.
pulled_again() {
    docker push -q "$TO"
    FIRST=$(ls "$STATE/blobs")
    docker rm "$N" >&2
    docker rmi "$TO" "$N" >&2
    docker pull -q "$TO"
    KEPT=$(find "$ENGINE_ROOT"/overlay2/*/blob -size +2000k -newer "$STATE/manifests/v1" 2>/dev/null)
    if [ -z "$KEPT" ]; then
        [ "$(df --output=pcent "$ENGINE_ROOT" | tr -dc 0-9)" -ge 85 ] || fail "no blob was kept"
        skip "no blob is kept on a disk that is nearly full"
    fi
    rm "$STATE"/blobs/* "$STATE/log"
}

@test "what was pulled goes out as it came: in one request, and on from where that breaks" {
    pulled_again
    docker push -q "$TO"
    arrived
    same "$FIRST" "$(ls "$STATE/blobs")"
    run grep -c ^PATCH "$STATE/log"
    same 0 "$output" "requests but for one"
    rm "$STATE"/blobs/* "$STATE/log"
    echo "cut 900000" >"$STATE/mode"
    docker push -q "$TO"
    arrived
    same "$FIRST" "$(ls "$STATE/blobs")"
    [ "$(sent)" -le 3200000 ] || fail "$(sent) bytes for 3,000,000"
    [ "$(grep -c ^PATCH "$STATE/log")" -ge 2 ]
}

@test "a kept blob that has changed on the disk never arrives: the layer is compressed anew" {
    pulled_again
    printf changed | dd of="$KEPT" bs=1 seek=1500000 conv=notrunc status=none
    docker push -q "$TO"
    arrived
    same "$FIRST" "$(ls "$STATE/blobs")"
    [ ! -e "$KEPT" ]
}
