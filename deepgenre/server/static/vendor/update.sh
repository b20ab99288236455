#!/bin/sh
# Replaces the vendored files by those of the npm package, whose content is pinned by its digest.
set -eu
cd "$(dirname "$0")"
digest=8743a74564954ea2182d2c37fc856b06db2e9ffc70f4be6ee050376e37d20d314c5ffc6cc15592d49c0ae1f16edee966c515121e0f3340e465eb310d1bdf377a
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
npm pack --silent --pack-destination "$folder" wavesurfer.js@8.0.1
archive=$folder/wavesurfer.js-8.0.1.tgz
echo "$digest  $archive" | sha512sum --check --quiet
tar -xzf "$archive" -C "$folder"
cp "$folder/package/dist/wavesurfer.esm.js" "$folder/package/dist/plugins/regions.esm.js" .
cp "$folder/package/LICENSE" LICENSE-wavesurfer.txt
