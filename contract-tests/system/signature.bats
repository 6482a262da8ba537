#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The signature policy: which images may be pulled, and which may be used. Signatures are made by openssl (sign-image). In a lab of its own.
load helpers

setup_file() {
    only_ours_file "it has no such policy" || return 0
    own_lab registry engine
    local kind
    cd "$BATS_FILE_TMPDIR" || return
    openssl ecparam -name prime256v1 -genkey -noout -out good 2>/dev/null
    openssl ecparam -name prime256v1 -genkey -noout -out bad 2>/dev/null
    openssl genrsa -out rsa 2048 2>/dev/null
    openssl genpkey -algorithm ed25519 -out ed 2>/dev/null
    for kind in good bad rsa ed; do openssl pkey -in "$kind" -pubout -out "$kind.pub" 2>/dev/null; done
    echo '{"default": [{"type": "insecureAcceptAnything"}]}' >policy.json
    echo "{\"signature-policy\": \"$BATS_FILE_TMPDIR/policy.json\"}" >daemon.json
    own_restart --config-file "$BATS_FILE_TMPDIR/daemon.json"
}
teardown() {
    [ -n "${N-}" ] || return 0
    end_jobs
    docker ps -aq | xargs -r "$CLI" -H "$ENGINE_HOST" rm -fv >/dev/null 2>&1 || true
    docker images -aq | xargs -r "$CLI" -H "$ENGINE_HOST" rmi -f >/dev/null 2>&1 || true
}

log() { echo "$TOP/build/${OWN_LAB#hatake-}/engine/log"; }
reloads() { grep -ac "$1" "$(log)" || true; }
more_reloads() { [ "$(reloads "$2")" -gt "$1" ]; }
# hup WORDS: reload, and wait for that line of the log
hup() {
    local before
    before=$(reloads "$1")
    kill -HUP "$(engine_pid)"
    poll more_reloads "$before" "$1"
}
policy() {
    echo "$1" >"$BATS_FILE_TMPDIR/policy.json"
    hup 'Reloaded configuration'
}
# signed KEY... : the requirement; wants KEY...: the policy that wants one of them for the test registry and rejects everything else
signed() {
    local key list=
    for key in "$@"; do list+="${list:+, }\"$BATS_FILE_TMPDIR/$key.pub\""; done
    echo "[{\"type\": \"sigstoreSigned\", \"keyPaths\": [$list], \"signedIdentity\": {\"type\": \"matchRepository\"}}]"
}
wants() { policy "{\"default\": [{\"type\": \"reject\"}], \"transports\": {\"docker\": {\"127.0.0.1\": [{\"type\": \"reject\"}], \"127.0.0.1:7601\": $(signed "$@")}}}"; }
key() { echo "$BATS_FILE_TMPDIR/$1"; }
fingerprint() { openssl pkey -pubin -in "$(key "$1.pub")" -outform DER 2>/dev/null | sha256sum | cut -d' ' -f1; }

# offer NAME IMAGE SIGNATURE...: serves the image with these signatures as $AT/NAME; DIGEST is the image's. serve once all are offered.
AT=127.0.0.1:7601
offer() {
    local name=$1 image=$2
    shift 2
    DIGEST=$("$BATS_TEST_DIRNAME/sign-image" "$IMAGES/$image/oci" "$BATS_TEST_TMPDIR/layout-$name" "$@")
    OFFERS+=("$name=$BATS_TEST_TMPDIR/layout-$name")
}
# digest_in IMAGE KEY...: that of what the image's own document names there
digest_in() {
    /usr/bin/python3 -c 'import json, sys
layout, *keys = sys.argv[1:]
top = json.load(open(layout + "/index.json"))["manifests"][0]["digest"]
what = json.load(open(layout + "/blobs/" + top.replace(":", "/")))
for key in keys:
    what = what[int(key) if key.isdigit() else key]
print(what["digest"])' "$IMAGES/$1/oci" "${@:2}"
}
serve() {
    STATE=$BATS_TEST_TMPDIR/registry
    mkdir -p "$STATE"
    ip netns exec "$SUBJECT_NETNS" "$BATS_TEST_DIRNAME/test-registry" "$STATE" 127.0.0.1 "${OFFERS[@]}" --port "${AT#*:}" >&2 3>&- &
    poll test -e "$STATE/ready"
}
refused() { # NAME WORDS: the pull is refused with these words, and no layer was asked for
    request POST "/v1.45/images/create?fromImage=$AT/${1%%[:@]*}&tag=${1#*[:@]}"
    contains "$BODY" "$2"
    contains "$BODY" "policy"
    same '' "$(docker images -aq)" "$1"
    same 0 "$(find "$ENGINE_ROOT/content/partial" "$ENGINE_ROOT/overlay2" -mindepth 1 -name 'tmp-*' -o -mindepth 1 -path '*partial/*' | wc -l)" "what $1 left"
}
taken() {
    request POST "/v1.45/images/create?fromImage=$AT/${1%%[:@]*}&tag=${1#*[:@]}"
    contains "$BODY" 'Downloaded newer image'
}

@test "a signed image is pulled and run; by which key, how it is stored, and how many others are there does not matter" {
    OFFERS=()
    offer app busybox "{\"key\": \"$(key good)\", \"reference\": \"$AT/app\"}"
    offer rsa busybox "{\"key\": \"$(key rsa)\", \"reference\": \"$AT/rsa\"}"
    offer ed busybox "{\"key\": \"$(key ed)\", \"reference\": \"$AT/ed\"}"
    offer several busybox "{\"key\": \"$(key bad)\", \"reference\": \"$AT/several\"}" '{"signature": "AAAA", "reference": "x"}' '{"signature": null, "payload": "{"}' \
        "{\"key\": \"$(key good)\", \"reference\": \"$AT/several\"}"
    offer listed busybox "{\"key\": \"$(key good)\", \"reference\": \"$AT/listed\", \"form\": \"referrers\"}"
    offer fallback busybox "{\"key\": \"$(key good)\", \"reference\": \"$AT/fallback\", \"form\": \"fallback\"}" \
        "{\"key\": \"$(key bad)\", \"reference\": \"$AT/fallback\", \"form\": \"tag\"}"
    serve
    wants good rsa ed
    local name
    for name in app rsa ed several listed fallback; do
        taken "$name:latest"
        docker run --rm --network none "$AT/$name" true
        docker run --rm --network none "$AT/$name@$DIGEST" true
        docker rmi "$AT/$name"
    done
    # By its digest alone, too.
    taken "app@$DIGEST"
    docker run --rm --network none "$AT/app@$DIGEST" true
}

@test "what is signed may be the index or the platform's manifest" {
    OFFERS=()
    offer index multi "{\"key\": \"$(key good)\", \"reference\": \"$AT/index\"}"
    offer one multi "{\"key\": \"$(key good)\", \"reference\": \"$AT/one\", \"digest\": \"platform\", \"beside\": \"platform\"}"
    serve
    wants good
    taken index:latest
    docker rmi "$AT/index"
    taken one:latest
    docker rmi "$AT/one"
    # Of an image pulled by the digest of one platform nobody can tell to which index it belongs.
    refused "index@$(digest_in multi manifests 0)" 'no signature is stored beside it'
}

@test "a pull that does not meet the policy is refused before any layer, and says why" {
    OFFERS=()
    offer unsigned busybox
    offer wrongkey busybox "{\"key\": \"$(key bad)\", \"reference\": \"$AT/wrongkey\"}"
    offer otherimage busybox "{\"key\": \"$(key good)\", \"reference\": \"$AT/otherimage\", \"digest\": \"sha256:$(printf '0%.0s' {1..64})\"}"
    offer othername busybox "{\"key\": \"$(key good)\", \"reference\": \"$AT/somethingelse\"}"
    offer otherbytes busybox "{\"key\": \"$(key good)\", \"reference\": \"$AT/otherbytes\", \"stored\": \"{}\"}"
    offer huge busybox "{\"key\": \"$(key good)\", \"reference\": \"$AT/huge\", \"pad\": 70000}"
    offer liar busybox "{\"key\": \"$(key good)\", \"reference\": \"$AT/liar\", \"size\": 12}"
    offer notjson busybox "{\"key\": \"$(key good)\", \"payload\": \"{\\\"critical\\\": \"}"
    offer deep busybox "{\"key\": \"$(key good)\", \"payload\": \"$(printf '[%.0s' {1..5000})\"}"
    offer strange busybox "{\"key\": \"$(key good)\", \"payload\": \"{\\\"critical\\\": {\\\"type\\\": \\\"x\\\"}}\"}"
    offer notbase64 busybox "{\"signature\": \"?\", \"reference\": \"$AT/notbase64\"}"
    offer badmanifest busybox '{"manifest": "{\"layers\": [{]}"}'
    offer oddmanifest busybox '{"manifest": "{\"layers\": [1, {\"mediaType\": \"application/vnd.dev.cosign.simplesigning.v1+json\"}, null]}"}'
    serve
    wants good
    refused unsigned:latest "$AT/unsigned:latest ($DIGEST)"
    contains "$BODY" "the rule transports.docker[\\\"$AT\\\"] of $BATS_FILE_TMPDIR/policy.json wants a signature by"
    contains "$BODY" "$BATS_FILE_TMPDIR/good.pub (SHA256 $(fingerprint good)); no signature is stored beside it: sign it"
    refused wrongkey:latest 'was not made with that key, or is not over what is stored with it'
    refused otherimage:latest 'is for another image, sha256:000000'
    refused othername:latest "it is signed as \\\"$AT/somethingelse\\\""
    refused otherbytes:latest 'was not made with that key, or is not over what is stored with it'
    refused huge:latest 'what was signed is larger than 65536 bytes'
    refused liar:latest 'cannot be read'
    refused notjson:latest 'what was signed is no claim about an image'
    refused deep:latest 'what was signed is no claim about an image: maximum parsing depth reached'
    refused strange:latest 'what was signed is no claim about an image'
    refused notbase64:latest 'is missing or no base64'
    refused badmanifest:latest 'cannot be read'
    refused oddmanifest:latest 'its descriptor has no digest or no size'
    # Of the configuration and the layers, blobs all of them, not one was asked for: only what is signed.
    same 0 "$(grep -c "$(digest_in busybox config)" "$STATE/log" || true)"
    # A registry that fails proves nothing either.
    echo '{"fail": [["[.]sig$", 500, 1000, {}]]}' >"$STATE/rules"
    refused unsigned:latest 'cannot be read: unknown: as told'
    docker pull "$AT/unsigned" 2>&1 | grep -q 'the signature policy refuses' || fail "the client is not told"
    # What is rejected by its name is not even asked for: nobody answers there.
    request POST '/v1.45/images/create?fromImage=127.0.0.1:1/app&tag=latest'
    same 403 "$STATUS"
    contains "$BODY" "the rule default of $BATS_FILE_TMPDIR/policy.json refuses every image"
}

@test "create and start: only what was verified, whatever way it came; reload changes both" {
    OFFERS=()
    offer later busybox-old "{\"key\": \"$(key good)\", \"reference\": \"$AT/later\"}"
    serve
    policy '{"default": [{"type": "insecureAcceptAnything"}]}'
    docker pull -q "$AT/later"
    docker load -qi "$IMAGES/hello-world/docker.tar" >/dev/null
    docker create --name "$N-before" --network none "$AT/later" true
    docker create --name "$N-loaded" --network none hello-world
    wants good
    # Pulled before there was a policy: nobody has looked at its signature.
    run docker start "$N-before"
    [ "$status" != 0 ]
    contains "$output" "the signature policy refuses $AT/later:latest (sha256:"
    contains "$output" 'no signature of it has been verified: pull it, so that one is'
    run docker run --rm --network none "$AT/later" true
    same 125 "$status"
    run docker create hello-world
    contains "$output" 'the rule default'
    run docker start "$N-loaded"
    contains "$output" 'refuses every image'
    docker pull -q "$AT/later"
    docker start "$N-before"
    # The name it is used by decides: another name for it is not signed for, its id is.
    docker tag "$AT/later" "$AT/other"
    run docker create "$AT/other"
    contains "$output" "it is signed with that key as $AT/later: use it by that name"
    docker create --network none "$(docker images -q --no-trunc "$AT/later" | head -1)" true
    docker create --network none "$(docker images -q "$AT/later" | head -1)" true
    # Remembered over a restart, and over the image's absence: no registry is asked.
    docker save -o "$BATS_TEST_TMPDIR/app.tar" "$AT/later"
    kill "$(jobs -p)"
    own_restart --config-file "$BATS_FILE_TMPDIR/daemon.json"
    docker run --rm --network none "$AT/later" true
    docker ps -aq | xargs -r "$CLI" -H "$ENGINE_HOST" rm -fv
    docker rmi -f "$(docker images -q "$AT/later")"
    docker load -qi "$BATS_TEST_TMPDIR/app.tar"
    docker run --rm --network none "$AT/later" true
    # Another key: what the old one signed does not count any more.
    wants bad
    run docker run --rm --network none "$AT/later" true
    contains "$output" 'no signature of it has been verified'
    # An image without a name.
    wants good
    docker rmi -f "$AT/other" >/dev/null 2>&1 || true
    docker commit "$(docker create --network none "$AT/later" true)" >"$BATS_TEST_TMPDIR/nameless"
    run docker create "$(cat "$BATS_TEST_TMPDIR/nameless")" true
    contains "$output" 'the signature policy refuses the image (sha256:'
    policy "{\"default\": [{\"type\": \"reject\"}], \"transports\": {\"docker-daemon\": {\"\": [{\"type\": \"insecureAcceptAnything\"}]}}}"
    docker create --network none "$(cat "$BATS_TEST_TMPDIR/nameless")" true
}

@test "several requirements: all of them" {
    OFFERS=()
    offer one busybox "{\"key\": \"$(key good)\", \"reference\": \"$AT/one\"}"
    offer both busybox "{\"key\": \"$(key good)\", \"reference\": \"$AT/both\"}" "{\"key\": \"$(key rsa)\", \"reference\": \"$AT/both\"}"
    serve
    local one other
    one=$(signed good) other=$(signed rsa)
    policy "{\"default\": ${one%]}, ${other#[}}"
    refused one:latest "SHA256 $(fingerprint rsa)"
    taken both:latest
    docker run --rm --network none "$AT/both" true
}

@test "a registry of the stock kind keeps signatures, too" {
    wants good
    policy "{\"default\": [{\"type\": \"reject\"}], \"transports\": {\"docker\": {\"$REGISTRY/signed\": $(signed good)}}}"
    "$BATS_TEST_DIRNAME/sign-image" "$IMAGES/busybox/oci" "$BATS_TEST_TMPDIR/layout" "{\"key\": \"$(key good)\", \"reference\": \"$REGISTRY/signed/$N\"}"
    ip netns exec "$REGISTRY_NETNS" /usr/bin/python3 - "$BATS_TEST_TMPDIR/layout" "$REGISTRY" "signed/$N" "$TOP/build/${OWN_LAB#hatake-}/etc" "$CI" <<'END'
import glob, json, os, sys
sys.path.insert(0, sys.argv[5])
import image_push
layout, host, repository, etc = sys.argv[1:5]
image_push.use_hosts(os.path.join(etc, "hosts"))
registry = image_push.Registry(host, repository, os.environ["REGISTRY_CA"], os.environ["REGISTRY_USER"], os.environ["REGISTRY_PASSWORD"])
for entry in json.load(open(os.path.join(layout, "index.json")))["manifests"]:
    image_push.push_manifest(layout, registry, entry, entry.get("annotations", {}).get("org.opencontainers.image.ref.name", "latest"))
END
    docker pull -q "$REGISTRY/signed/$N"
    docker run --rm --network none "$REGISTRY/signed/$N" true
}

@test "a policy that cannot be used: no start, no reload, and the old one stays" {
    wants good
    local out
    echo '{"default": [{"type": "sigstoreSigned", "keyPath": "/nowhere/key.pub"}]}' >"$BATS_FILE_TMPDIR/policy.json"
    hup 'the configuration was not reloaded'
    tail -n 20 "$(log)" | grep -q 'default: cannot read a key: .*/nowhere/key.pub'
    run docker pull "$REGISTRY/busybox"
    contains "$output" 'refuses every image'
    run "$HATAKED" --validate --config-file "$BATS_FILE_TMPDIR/daemon.json"
    [ "$status" = 1 ]
    contains "$output" "signature policy $BATS_FILE_TMPDIR/policy.json: default: cannot read a key"
    run own_restart --config-file "$BATS_FILE_TMPDIR/daemon.json"
    [ "$status" != 0 ]
    grep -aq "signature policy $BATS_FILE_TMPDIR/policy.json: default: cannot read a key" "$(log)"
    # Without the key in the file, a restart takes the policy away; a reload does not.
    echo '{"default": [{"type": "reject"}]}' >"$BATS_FILE_TMPDIR/policy.json"
    own_restart --config-file "$BATS_FILE_TMPDIR/daemon.json"
    out=$(cat "$BATS_FILE_TMPDIR/daemon.json")
    echo '{}' >"$BATS_FILE_TMPDIR/daemon.json"
    hup 'Reloaded configuration'
    run docker pull "$REGISTRY/busybox"
    contains "$output" 'refuses every image'
    own_restart --config-file "$BATS_FILE_TMPDIR/daemon.json"
    docker pull -q "$REGISTRY/busybox"
    echo "$out" >"$BATS_FILE_TMPDIR/daemon.json"
    echo '{"default": [{"type": "insecureAcceptAnything"}]}' >"$BATS_FILE_TMPDIR/policy.json"
    own_restart --config-file "$BATS_FILE_TMPDIR/daemon.json"
}
