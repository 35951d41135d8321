#!/bin/sh
# Writes the image's bill of materials, SPDX 2.3 in JSON: every Debian package that dpkg knows, the two binaries with
# their checksums, and the packages whose headers were compiled into them. Runs inside the image; needs dpkg and awk.
#
# Usage: sbom.sh VERSION REVISION CREATED COMPILED_IN OUTPUT
#   CREATED      2026-01-31T12:00:00Z
#   COMPILED_IN  file of the build stage, one package a line: NAME VERSION ARCHITECTURE
set -eu

version=$1 revision=$2 created=$3 compiled_in=$4 output=$5

# One line an entry: bin PATH SHA256, or header|deb NAME VERSION ARCHITECTURE.
list() {
  sha256sum /usr/local/bin/quantd /usr/local/bin/quantctl | awk '{ print "bin", $2, $1 }'
  awk '{ print "header", $1, $2, $3 }' "$compiled_in"
  dpkg-query -W -f '${db:Status-Status} ${Package} ${Version} ${Architecture}\n' |
    awk '$1 == "installed" { print "deb", $2, $3, $4 }'
}

digest=$(list | sha256sum | cut -c1-16)
. /etc/os-release
list | awk -v version="$version" -v revision="$revision" -v created="$created" -v digest="$digest" \
  -v distribution="$ID-$VERSION_ID" '
function text(value) { gsub(/["\\]/, "\\\\&", value); return "\"" value "\"" }
function field(name, value) { return text(name) ": " text(value) }
function id(kind, name) { gsub(/[^A-Za-z0-9.-]/, "-", name); return "SPDXRef-" kind "-" name }
function escaped(value) {
  gsub(/%/, "%25", value)
  gsub(/\+/, "%2B", value)
  gsub(/:/, "%3A", value)
  gsub(/~/, "%7E", value)
  return value
}
function relate(from, kind, to) {
  relations = relations (relations == "" ? "" : ",\n") "    {" field("spdxElementId", from) ", " \
    field("relationshipType", kind) ", " field("relatedSpdxElement", to) "}"
}
function add(ref, name, number, license, supplier, more) {
  packages = packages (packages == "" ? "" : ",\n") "    {" field("SPDXID", ref) ", " field("name", name) ", " \
    field("versionInfo", number) ", " field("supplier", supplier) ", " field("downloadLocation", "NOASSERTION") ", " \
    "\"filesAnalyzed\": false, " field("licenseConcluded", "NOASSERTION") ", " field("licenseDeclared", license) ", " \
    field("copyrightText", "NOASSERTION") ", " more "}"
}
function add_binary(path, sum,    name, ref) {
  name = path
  sub(/.*\//, "", name)
  ref = id("Binary", name)
  add(ref, name, version, "Apache-2.0", "NOASSERTION", field("primaryPackagePurpose", "APPLICATION") ", " \
    field("packageFileName", path) ", " field("sourceInfo", "revision " revision) ", " \
    "\"checksums\": [{" field("algorithm", "SHA256") ", " field("checksumValue", sum) "}]")
  relate("SPDXRef-DOCUMENT", "DESCRIBES", ref)
  binaries[++count] = ref
}
function add_debian(ref, name, number, architecture,    purl) {
  purl = "pkg:deb/debian/" escaped(name) "@" escaped(number) "?arch=" architecture "&distro=" distribution
  add(ref, name, number, "NOASSERTION", "Organization: Debian", "\"externalRefs\": [{" \
    field("referenceCategory", "PACKAGE-MANAGER") ", " field("referenceType", "purl") ", " \
    field("referenceLocator", purl) "}]")
}
$1 == "bin" { add_binary($2, $3) }
$1 == "header" {
  ref = id("CompiledIn", $2)
  add_debian(ref, $2, $3, $4)
  for (i = 1; i <= count; i++) relate(binaries[i], "STATIC_LINK", ref)
}
$1 == "deb" {
  ref = id("Debian", $2 "-" $4)
  add_debian(ref, $2, $3, $4)
  relate("SPDXRef-DOCUMENT", "DESCRIBES", ref)
}
END {
  print "{"
  print "  " field("spdxVersion", "SPDX-2.3") ","
  print "  " field("dataLicense", "CC0-1.0") ","
  print "  " field("SPDXID", "SPDXRef-DOCUMENT") ","
  print "  " field("name", "quantd-" version) ","
  print "  " field("documentNamespace", "https://spdx.org/spdxdocs/quantd-" version "-" digest) ","
  print "  \"creationInfo\": {" field("created", created) ", \"creators\": [\"Tool: deploy/image/sbom.sh\"]},"
  print "  \"packages\": [\n" packages "\n  ],"
  print "  \"relationships\": [\n" relations "\n  ]"
  print "}"
}' >"$output"
