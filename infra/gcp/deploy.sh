#!/usr/bin/env bash
# Puts the nightly job into a project of Google Cloud; again changes only what is different.
#
#   PROJECT=my-project REGION=europe-west1 BUCKET=my-bucket IMAGES_BUCKET=my-photos \
#       infra/gcp/deploy.sh [PART ...]
#
# Parts, all but `server` without any named: services network storage accounts jobs template
# permissions workflow schedule alerts. `server` is for when a first model is published.
#
# PROJECT REGION    where everything is
# BUCKET            holds the workspace, in gs://BUCKET/workspace; is made if it is not there
# IMAGES_BUCKET     is only ever read
# WORKFLOW_FILE     the workflow file (workflow.toml)
# WORKFLOW          `name` in it (nightly)
# MODEL             its model's name (labels)
# VERSION           tag of the images (0.1.0)
# SHARDS_ON         dataflow or cloud-run (dataflow)
# SLICES            tasks at most, on cloud-run (16)
# MAX_WORKERS       machines at most, on dataflow (10)
# SCHEDULE          when, in UTC (0 2 * * *)
# SERVER            grpcs://HOST:443 of the model server, as `deploy.sh server` prints it (none)
# EMAIL             who is told by the alerts (nobody)
set -euo pipefail

: "${PROJECT:?PROJECT=ID says which project}" "${REGION:?REGION=NAME says where, such as europe-west1}"
: "${BUCKET:?BUCKET=NAME says which bucket holds the workspace}"
: "${IMAGES_BUCKET:?IMAGES_BUCKET=NAME says which bucket holds the images}"
WORKFLOW_FILE=${WORKFLOW_FILE:-workflow.toml} WORKFLOW=${WORKFLOW:-nightly} MODEL=${MODEL:-labels}
VERSION=${VERSION:-0.1.0} SHARDS_ON=${SHARDS_ON:-dataflow} SLICES=${SLICES:-16}
MAX_WORKERS=${MAX_WORKERS:-10} SCHEDULE=${SCHEDULE:-0 2 * * *} SERVER=${SERVER:-} EMAIL=${EMAIL:-}
IMAGES=$REGION-docker.pkg.dev/$PROJECT/linnaeus
OF_SHARDS=(workspace/{embeddings,failures,leases,objects,predictions,runs}/ temp/)
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT

g() { gcloud --quiet --project="$PROJECT" "$@"; }
there() { g "$@" > /dev/null 2>&1; }

# Writes a file with the settings in place of ${NAME}, and says where.
filled() {
    local text name
    text=$(< "$here/$1")
    for name in PROJECT REGION BUCKET IMAGES VERSION MODEL SCHEDULE; do
        text=${text//"\${$name}"/"${!name}"}
    done
    printf '%s\n' "$text" > "$made/$(basename "$1")"
    printf '%s\n' "$made/$(basename "$1")"
}

services() {
    g services enable artifactregistry.googleapis.com cloudscheduler.googleapis.com \
        compute.googleapis.com dataflow.googleapis.com monitoring.googleapis.com \
        pubsub.googleapis.com run.googleapis.com secretmanager.googleapis.com \
        workflows.googleapis.com workflowexecutions.googleapis.com
}

network() {
    there compute networks describe linnaeus \
        || g compute networks create linnaeus --subnet-mode=custom
    there compute networks subnets describe linnaeus --region="$REGION" \
        || g compute networks subnets create linnaeus --network=linnaeus --region="$REGION" \
            --range=10.20.0.0/20 --enable-private-ip-google-access
}

storage() {
    there storage buckets describe "gs://$BUCKET" \
        || g storage buckets create "gs://$BUCKET" --location="$REGION" \
            --uniform-bucket-level-access --public-access-prevention
    there artifacts repositories describe linnaeus --location="$REGION" \
        || g artifacts repositories create linnaeus --location="$REGION" --repository-format=docker
    there pubsub topics describe linnaeus-notifications || g pubsub topics create linnaeus-notifications
    there secrets describe linnaeus-workflow \
        || g secrets create linnaeus-workflow --replication-policy=automatic
    g secrets versions add linnaeus-workflow --data-file="$WORKFLOW_FILE"
}

accounts() {
    local account
    for account in $(awk '/^[a-z]/ { print $1 }' "$here/permissions.conf" | sort -u); do
        there iam service-accounts describe "$account@$PROJECT.iam.gserviceaccount.com" \
            || g iam service-accounts create "$account"
    done
}

permissions() { give -v; }

# Gives the roles on services, or with -v all others: a service is there once it is deployed.
give() {
    local account role on name
    grep '^[a-z]' "$here/permissions.conf" | grep "$@" ' service:' | while read -r account role on; do
        name=${on#*:}
        case $on in
            project) grant "$account" "$role" projects "$PROJECT" --condition=None ;;
            bucket:workspace) grant "$account" "$role" storage buckets "gs://$BUCKET" --condition=None ;;
            bucket:shards) grant "$account" "$role" storage buckets "gs://$BUCKET" \
                --condition="title=what-shards-write,expression=$(below "${OF_SHARDS[@]}")" ;;
            bucket:images) grant "$account" "$role" storage buckets "gs://$IMAGES_BUCKET" --condition=None ;;
            job:*) grant "$account" "$role" run jobs "$name" --region="$REGION" ;;
            service:*) grant "$account" "$role" run services "$name" --region="$REGION" ;;
            secret:*) grant "$account" "$role" secrets "$name" ;;
            topic:*) grant "$account" "$role" pubsub topics "$name" ;;
            repository:*) grant "$account" "$role" artifacts repositories "$name" --location="$REGION" ;;
            account:*) grant "$account" "$role" iam service-accounts "$name@$PROJECT.iam.gserviceaccount.com" ;;
            *) echo "permissions.conf: $on is nothing that a role can be given on" >&2; exit 2 ;;
        esac
    done
}

# below PREFIX...: a condition that an object of the workspace's bucket lies below one of them
below() {
    local one condition=
    for one; do
        condition+="${condition:+ || }resource.name.startsWith(\"projects/_/buckets/$BUCKET/objects/$one\")"
    done
    printf '%s' "$condition"
}

# grant ACCOUNT ROLE GROUP... NAME [FLAG]
grant() {
    local account=$1 role=$2 group=() flags=() word
    shift 2
    for word; do
        case $word in --*) flags+=("$word") ;; *) group+=("$word") ;; esac
    done
    g "${group[@]:0:${#group[@]}-1}" add-iam-policy-binding "${group[-1]}" \
        --member="serviceAccount:$account@$PROJECT.iam.gserviceaccount.com" --role="$role" \
        "${flags[@]}" < /dev/null > /dev/null
}

jobs() {
    local name
    for name in steps train slices; do
        g run jobs replace "$(filled "run/$name.yaml")" --region="$REGION"
    done
}

template() {
    g dataflow flex-template build "gs://$BUCKET/templates/run_shards.json" \
        --image="$IMAGES/linnaeus-run-shards:$VERSION" --sdk-language=PYTHON \
        --metadata-file="$here/../dataflow/run_shards.metadata.json"
}

server() {
    g run services replace "$(filled run/server.yaml)" --region="$REGION"
    give
    g run services describe linnaeus-server --region="$REGION" --format='value(status.url)' \
        | sed 's,^https://\(.*\)$,SERVER=grpcs://\1:443,'
}

workflow() {
    cat > "$made/environment.yaml" << END
WORKFLOW: "$WORKFLOW"
BUCKET: "$BUCKET"
SHARDS_ON: "$SHARDS_ON"
SLICES: "$SLICES"
MAX_WORKERS: "$MAX_WORKERS"
WORKER_IMAGE: "$IMAGES/linnaeus-shards-worker:$VERSION"
WORKER_ACCOUNT: "linnaeus-shards@$PROJECT.iam.gserviceaccount.com"
SUBNETWORK: "regions/$REGION/subnetworks/linnaeus"
SERVER: "$SERVER"
END
    g workflows deploy linnaeus-nightly --location="$REGION" --source="$here/workflow.yaml" \
        --service-account="linnaeus-workflow@$PROJECT.iam.gserviceaccount.com" \
        --env-vars-file="$made/environment.yaml"
}

schedule() {
    local verb=create
    if there scheduler jobs describe linnaeus-nightly --location="$REGION"; then verb=update; fi
    g scheduler jobs "$verb" http linnaeus-nightly --flags-file="$(filled scheduler.yaml)"
}

alerts() {
    local file name channel=() existing
    if [ -n "$EMAIL" ]; then
        existing=$(g beta monitoring channels list --filter='displayName="linnaeus"' --format='value(name)')
        [ -n "$existing" ] || existing=$(g beta monitoring channels create --display-name=linnaeus \
            --type=email --channel-labels="email_address=$EMAIL" --format='value(name)')
        channel=(--notification-channels="$existing")
    fi
    for file in "$here"/alerts/*.yaml; do
        name=$(sed -n 's/^displayName: //p' "$file")
        existing=$(g alpha monitoring policies list --filter="displayName=\"$name\"" --format='value(name)')
        [ -n "$existing" ] || g alpha monitoring policies create --policy-from-file="$file" "${channel[@]}"
    done
}

if [ $# = 0 ]; then
    set -- services network storage accounts jobs template permissions workflow schedule alerts
fi
for part; do
    case $part in
        services | network | storage | accounts | jobs | template | permissions | server | workflow | schedule | alerts)
            echo "== $part" >&2
            "$part"
            ;;
        *) echo "There is no part $part; see the beginning of $0" >&2; exit 2 ;;
    esac
done
