# Remove what an installation in an image never uses: tests of packages, and headers and test programs for C++ code.
#   sh remove_unused.sh <prefix of the installation>
set -eu
cd "$1"/lib/python3.*/site-packages
find . -type d -name tests -prune -exec rm -r {} +
find . -type d \( -path './torch/include' -o -path './torch/test' -o -path './torch/share' -o -path './nvidia/*/include' \) \
    -prune -exec rm -r {} +
# Of torch's programs, only this one is used: by data loaders that share memory.
find . -type f -path './torch/bin/*' ! -name torch_shm_manager -delete
