#!/bin/sh
# Takes out of an environment what no job ever opens:
#
#   sh infra/docker/trim.sh /opt/linnaeus
#
# tests and examples of packages, stubs, headers and static libraries, OpenVINO's plugins for Intel's
# cards and its readers of formats that it is never given, Arrow Flight, the descriptions of all but
# five of AWS's three hundred services, and debugging symbols where that is known to be safe:
# libraries that `auditwheel` has patched do not survive `strip`.
set -eu

packages=$(echo "$1"/lib/python3.*/site-packages)
cd "$packages"

find . -type d \( -name tests -o -name test -o -name examples -o -name include -o -name __pycache__ \) \
    -prune -exec rm -rf {} +
find . -type f \( -name '*.pyi' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.pxi' -o -name '*.h' \
    -o -name '*.hpp' -o -name '*.a' -o -name '*_test.py' \) -delete

rm -rf pyarrow/src pyarrow/*flight*
rm -f openvino/libs/cache.json openvino/libs/*_gpu_plugin.* openvino/libs/*_npu_plugin.*
find openvino/libs -name '*_frontend.so*' ! -name '*_ir_frontend.so*' -delete

# A wheel has no links: it holds such a library three times.
for copy in pyarrow/libarrow_python*.so; do
    for other in "$copy".*; do
        ln -sf "$(basename "$copy")" "$other"
    done
done

for service in botocore/data/*/; do
    case $(basename "$service") in
        s3 | sns | sso | sso-oidc | sts) ;;
        *) rm -r "$service" ;;
    esac
done

# To another file and back: a library may be a hard link into the installer's cache.
for package in apache_beam cryptography fastavro obstore pyarrow yaml zstandard; do
    find "$package" -type f -name '*.so*' -exec sh -euc '
        for library in "$@"; do
            strip --strip-unneeded -o "$library.stripped" "$library"
            mv "$library.stripped" "$library"
        done' strip {} +
done
