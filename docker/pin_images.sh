# Write the present digests of the base images into the files that name them; run from the root of the project.
# Needs Docker with buildx, and the images' registry. If it fails, no file is changed.
set -eu
files="docker-compose.yml docker/service.Dockerfile docker/training.Dockerfile docker/monitoring.Dockerfile"
edits=""
# shellcheck disable=SC2086 # a list
for image in $(grep --no-filename --only-matching --extended-regexp '[a-z/]+:[a-z0-9.-]+@sha256:[0-9a-f]{64}' $files \
    | cut -d @ -f 1 | sort --unique); do
    digest="$(docker buildx imagetools inspect --format '{{.Manifest.Digest}}' "$image")" || digest=""
    case "$digest" in
        sha256:*) ;;
        *) echo "error: no digest of $image: its registry must be reachable" >&2; exit 1 ;;
    esac
    echo "$image@$digest"
    edits="$edits;s#$image@sha256:[0-9a-f]*#$image@$digest#"
done
# shellcheck disable=SC2086
sed --in-place "${edits#;}" $files
