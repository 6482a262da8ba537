#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# hatake sbom: what is installed in an image, as SPDX. On the engine of the lab; the archive is the API's, so the reference serves as well.
load helpers

hatake() { "$TOP/build/bin/hatake" -H "$ENGINE_HOST" "$@"; }
teardown() {
    [ ! -e "$BATS_TEST_TMPDIR/ids" ] || sort -u "$BATS_TEST_TMPDIR/ids" | xargs -r "$CLI" -H "$ENGINE_HOST" rmi -f >/dev/null 2>&1 || true
}
# image LAYER...: loads one as $N
image() {
    "$BATS_TEST_DIRNAME/make-archive" "$BATS_TEST_TMPDIR/image.tar" "$N:latest" "$@"
    docker load -qi "$BATS_TEST_TMPDIR/image.tar" >/dev/null
    docker images -q --no-trunc "$N" >>"$BATS_TEST_TMPDIR/ids"
}
# sbom [NAME]: sets DOC, and SAID to what stands on standard error
sbom() {
    DOC=$BATS_TEST_TMPDIR/doc
    hatake sbom "${1-$N}" >"$DOC" 2>"$DOC.said" || fail "$(cat "$DOC.said")"
    SAID=$(cat "$DOC.said")
}
# value EXPRESSION: of the document, which must keep the rules
value() { "$BATS_TEST_DIRNAME/check-spdx" "$DOC" "$1"; }
packages() { value '" ".join(sorted(x["name"] + "=" + x["versionInfo"] for x in d["packages"] if "sourceInfo" in x))'; }
purl() { value "p['$1']['externalRefs'][0]['referenceLocator']"; }

DPKG='Package: base\nStatus: install ok installed\nArchitecture: amd64\nMaintainer: Some One <one@example.test>\nVersion: 1:2.0+dfsg-1~x\nSource: src (2.0)\nDescription: x\n y\n .\n z\n\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 1\n\nPackage: last\nStatus: install ok installed\nMaintainer: The Last Team <t@example.test>\nVersion: 3\n'
OS='NAME=x\nID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME=\"Debian 12\"\n'

@test "debian: every package that dpkg lists, the same bytes each time" {
    need_image debian
    sbom debian:bookworm-slim
    # What the image's own dpkg says.
    same "$(docker run --rm --network none debian:bookworm-slim dpkg-query -W -f '${Package}=${Version}\n' | sort | xargs)" "$(packages | tr ' ' '\n' | sort | xargs)"
    same 'pkg:deb/debian/libc6@' "$(purl libc6 | cut -c1-21)"
    contains "$(purl libc6)" 'arch=amd64&distro=debian-12&upstream=glibc'
    same "debian 12" "$(value '" ".join([x["name"] + " " + x["versionInfo"] for x in d["packages"] if x.get("primaryPackagePurpose") == "OPERATING-SYSTEM"])')"
    same "['./var/lib/dpkg/status']" "$(value '[f["fileName"] for f in d["files"]]')"
    hatake sbom -o "$DOC.again" debian:bookworm-slim
    cmp "$DOC" "$DOC.again"
    # By its id it is the same image, under another name.
    hatake sbom --output=- "$(docker images -q --no-trunc debian:bookworm-slim)" | diff - "$DOC" | grep '^>' | grep -qv '"name": "debian:bookworm-slim"' && fail "more than the name differs"
    same "$(docker run --rm --network none debian:bookworm-slim sha256sum /var/lib/dpkg/status | cut -d' ' -f1)" "$(value 'd["files"][0]["checksums"][1]["checksumValue"]')"
}

@test "dpkg: removed packages are left out, suppliers and purls are as SPDX wants them" {
    image "{\"etc/os-release\": {\"link\": \"../usr/lib/os-release\"}, \"usr/lib/os-release\": \"$OS\", \"var/lib/dpkg/status\": \"$DPKG\"}"
    sbom
    same 'base=1:2.0+dfsg-1~x last=3' "$(packages)"
    same 'pkg:deb/debian/base@1:2.0%2Bdfsg-1~x?arch=amd64&distro=debian-12&upstream=src' "$(purl base)"
    same 'Person: Some One (one@example.test)' "$(value 'p["base"]["supplier"]')"
    same 'Organization: The Last Team (t@example.test)' "$(value 'p["last"]["supplier"]')"
    same '2024-05-06T07:08:09Z' "$(value 'd["creationInfo"]["created"]')"
}

@test "the view from the top: whiteouts, opaque folders, what stands in a folder's place" {
    local low="{\"./var/lib/dpkg/status\": \"Package: low\\nVersion: 1\\n\", \"var/lib/dpkg/status.d/one\": \"Package: one\\nVersion: 1\\n\", \"var/lib/dpkg/status.d/two\": \"Package: two\\nVersion: 2\\n\", \"var/lib/dpkg/status.d/two.md5sums\": \"x\", \"lib/apk/db/installed\": \"P:apk\\nV:1\\n\"}"
    image "$low"
    sbom
    same 'apk=1 low=1 one=1 two=2' "$(packages)"
    image "$low" '{"var/lib/dpkg/status": "Package: high\nVersion: 9\n"}' '{"var/lib/dpkg/status.d/one": null, "lib/apk": null}'
    sbom
    same 'high=9 two=2' "$(packages)"
    image "$low" '{"var/lib/dpkg": {"opaque": true}, "var/lib/dpkg/status.d/three": "Package: three\nVersion: 3\n", "lib": {"link": "usr/lib"}}'
    sbom
    same 'three=3' "$(packages)"
    image "$low" '{"var": null}' '{"var/lib/dpkg/status": "Package: new\nVersion: 1\n"}'
    sbom
    same 'apk=1 new=1' "$(packages)"
    # The same layer twice.
    image "$low" '{"var": null, "lib": null}' "$low"
    sbom
    same 'apk=1 low=1 one=1 two=2' "$(packages)"
}

@test "apk: packages, licences as they are said, the sum of the control part" {
    image '{"etc/os-release": "ID=alpine\nVERSION_ID=3.19.1\n", "lib/apk/db/installed": "C:Q1qvTGHdzF6KLavt4PO0gs2a6pQ00=\nP:musl\nV:1.2.4_git20230717-r4\nA:x86_64\nL:MIT\no:musl-src\nm:Some Body <b@example.test>\nF:lib\nR:ld\n\nC:nonsense\nP:zlib\nV:1.3-r0\nA:x86_64\n"}'
    sbom
    same 'musl=1.2.4_git20230717-r4 zlib=1.3-r0' "$(packages)"
    same 'pkg:apk/alpine/musl@1.2.4_git20230717-r4?arch=x86_64&distro=alpine-3.19.1&upstream=musl-src' "$(purl musl)"
    same "$(printf 'qvTGHdzF6KLavt4PO0gs2a6pQ00=' | base64 -d | od -An -tx1 | tr -d ' \n')" "$(value 'p["musl"]["checksums"][0]["checksumValue"]')"
    same 'The package database says: MIT' "$(value 'p["musl"]["licenseComments"]')"
    same False "$(value '"checksums" in p["zlib"]')"
}

@test "rpm: a database that rpm itself has made, the old forms named as not read" {
    local root=$BATS_TEST_TMPDIR/root
    cd "$BATS_TEST_TMPDIR" || return
    printf 'Name: hello\nVersion: 2.1\nRelease: 3\nEpoch: 1\nSummary: x\nLicense: MIT\nVendor: Example\nBuildArch: noarch\n%%description\nx\n%%files\n' >spec
    rpmbuild -bb --define "_topdir $BATS_TEST_TMPDIR/top" spec >/dev/null 2>&1
    rpm --root "$root" --dbpath /var/lib/rpm --define '_db_backend sqlite' -i --nodeps --noscripts top/RPMS/noarch/*.rpm 2>/dev/null
    image "{\"etc/os-release\": \"ID=fedora\\nVERSION_ID=40\\n\", \"var/lib/rpm/rpmdb.sqlite\": {\"copy\": \"$root/var/lib/rpm/rpmdb.sqlite\"}}"
    sbom
    same 'hello=1:2.1-3' "$(packages)"
    same 'pkg:rpm/fedora/hello@2.1-3?arch=noarch&distro=fedora-40&epoch=1&upstream=hello-2.1-3.src.rpm' "$(purl hello)"
    same 'Organization: Example' "$(value 'p["hello"]["supplier"]')"
    same "$(rpm --root "$root" --dbpath /var/lib/rpm --define '_db_backend sqlite' -q --qf '%{SHA256HEADER}' hello)" "$(value 'p["hello"]["checksums"][0]["checksumValue"]')"
    same '' "$SAID"
    # What was written last is in the log beside the database.
    /usr/bin/python3 - "$root/var/lib/rpm/rpmdb.sqlite" "$BATS_TEST_TMPDIR" <<'END'
import shutil, sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute("PRAGMA journal_mode=WAL")
db.execute("PRAGMA wal_autocheckpoint=0")
db.execute("INSERT INTO Packages(blob) SELECT replace(blob, CAST('hello' AS BLOB), CAST('jello' AS BLOB)) FROM Packages")
db.commit()
for name in ("rpmdb.sqlite", "rpmdb.sqlite-wal"):
    shutil.copy(sys.argv[1].replace("rpmdb.sqlite", name), sys.argv[2] + "/" + name)
END
    image "{\"usr/lib/sysimage/rpm/rpmdb.sqlite\": {\"copy\": \"$BATS_TEST_TMPDIR/rpmdb.sqlite\"}, \"usr/lib/sysimage/rpm/rpmdb.sqlite-wal\": {\"copy\": \"$BATS_TEST_TMPDIR/rpmdb.sqlite-wal\"}}"
    sbom
    same 'hello=1:2.1-3 jello=1:2.1-3' "$(packages)"
    image '{"var/lib/rpm/Packages": "x", "usr/lib/sysimage/rpm/Packages.db": "x"}'
    sbom
    same '' "$(packages)"
    contains "$SAID" '/var/lib/rpm/Packages was not read: it is an RPM database in the old form Berkeley DB'
    contains "$(value '[a["comment"] for a in d["annotations"]]')" '/usr/lib/sysimage/rpm/Packages.db was not read: it is an RPM database in the old form ndb'
}

@test "hostile databases: a finding or nothing, never a crash or an endless wait" {
    /usr/bin/python3 - "$BATS_TEST_TMPDIR" <<'END'
import sqlite3, struct, sys
def make(name, *sql):
    db = sqlite3.connect(sys.argv[1] + "/" + name)
    for statement in sql:
        db.execute(*statement) if isinstance(statement, tuple) else db.execute(statement)
    db.commit()
def header(entries, data, count=None):
    return struct.pack(">II", len(entries) if count is None else count, len(data)) + b"".join(struct.pack(">IIII", *e) for e in entries) + data
good = header([(1000, 6, 0, 1), (1001, 6, 5, 1)], b"good\0001\0")
blobs = [b"", b"x" * 7, header([], b""), header([(1000, 6, 0, 1)], b"a\0", 2**31), struct.pack(">II", 1, 2**32 - 1), header([(1000, 6, 2**32 - 1, 1)], b"a\0"),
         header([(1000, 6, 0, 1), (1001, 6, 0, 1)], b"no end"), header([(1000, 4, 0, 1), (1001, 6, 0, 1)], b"abcd\0"), header([(1000, 6, 0, 1)] * 60000, b"a\0"), good]
make("blobs", "CREATE TABLE Packages(hnum INTEGER PRIMARY KEY, blob BLOB)", *[("INSERT INTO Packages(blob) VALUES(?)", (b,)) for b in blobs])
make("view", "CREATE VIEW Packages AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT x AS hnum, zeroblob(1000) AS blob FROM c")
make("other", "CREATE TABLE Packages(name TEXT)")
with open(sys.argv[1] + "/blobs", "rb") as f, open(sys.argv[1] + "/cut", "wb") as out:
    out.write(f.read(5000))
with open(sys.argv[1] + "/nothing", "wb") as out:
    out.write(b"not a database at all" * 100)
END
    image "{\"var/lib/rpm/rpmdb.sqlite\": {\"copy\": \"$BATS_TEST_TMPDIR/blobs\"}}"
    sbom
    same 'good=1' "$(packages)"
    contains "$SAID" 'that package is missing here'
    local name
    for name in view other cut nothing; do
        image "{\"var/lib/rpm/rpmdb.sqlite\": {\"copy\": \"$BATS_TEST_TMPDIR/$name\"}}"
        sbom
        contains "$SAID" '/var/lib/rpm/rpmdb.sqlite'
        same '' "$(packages)" "$name"
    done
    image '{"var/lib/dpkg/status": {"link": "/etc/passwd"}, "etc/passwd": "x", "lib/apk/db/installed": {"hard": "etc/passwd"}, "var/lib/dpkg/status.d/x": "Package: \u0001\u001b[31m\u00ff\nVersion: 1 2&?#\n"}'
    sbom
    contains "$SAID" '/var/lib/dpkg/status was not read: it is a link'
    contains "$SAID" '/lib/apk/db/installed was not read'
    value 'len(d["packages"])'
    # Half a megabyte without an end of line, and a stanza that never ends.
    image "{\"var/lib/dpkg/status\": \"Package: a\\nVersion: $(printf '1%.0s' {1..1000})\\nDescription: $(printf 'x%.0s' {1..100000})\"}"
    sbom
    same 1 "$(packages | wc -w)"
}

@test "an image without packages, one that is not there, and wrong use" {
    need_image busybox
    sbom busybox
    same 1 "$(value 'len(d["packages"])')"
    contains "$SAID" 'holds no database of a package manager'
    run hatake sbom -q busybox
    same 0 "$status"
    run hatake sbom nothing-of-that-name
    same 1 "$status"
    contains "$output" 'No such image: nothing-of-that-name:latest'
    run hatake sbom
    [ "$status" != 0 ]
    run hatake sbom --output "$BATS_TEST_TMPDIR/no/folder" busybox
    same 1 "$status"
    contains "$output" "$BATS_TEST_TMPDIR/no/folder"
}
