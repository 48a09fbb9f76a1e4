#!/bin/sh
# Makes or changes the stack `linnaeus`, or another one, and puts a workflow file where it is read.
#
#   infra/aws/deploy.sh TEMPLATES_BUCKET REPOSITORY [NAME=VALUE]...
#
# TEMPLATES_BUCKET  a bucket of yours in the same region; gets the templates
# REPOSITORY        registry and path before the images' names, such as
#                   123456789012.dkr.ecr.eu-west-1.amazonaws.com/label
# NAME=VALUE        parameters of main.yaml, where they are described
#
# From the environment: STACK (linnaeus), WORKFLOW (a workflow file to put up; none by default), and
# what the AWS command line reads: AWS_REGION, AWS_PROFILE.
set -eu

if [ $# -lt 2 ]; then
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p;}' "$0" >&2
    exit 2
fi
bucket=$1 repository=$2
shift 2
stack=${STACK:-linnaeus}
folder=$(dirname "$0")
command -v aws > /dev/null || { echo 'The AWS command line is needed: aws' >&2; exit 2; }

# Each set of templates has its own folder: a stack that is rolled back finds its old ones.
version=$(cat "$folder"/*.yaml | cksum | cut -d ' ' -f 1)
prefix=linnaeus/templates/$version
for template in "$folder"/*.yaml; do
    aws s3 cp --only-show-errors "$template" "s3://$bucket/$prefix/$(basename "$template")"
done
aws cloudformation deploy --stack-name "$stack" --template-file "$folder/main.yaml" \
    --capabilities CAPABILITY_IAM --no-fail-on-empty-changeset --parameter-overrides \
    "TemplatesBucket=$bucket" "TemplatesPrefix=$prefix" "Repository=$repository" "$@"

output() {
    aws cloudformation describe-stacks --stack-name "$stack" --output text \
        --query "Stacks[0].Outputs[?OutputKey=='$1'].OutputValue"
}
if [ -n "${WORKFLOW:-}" ]; then
    name=nightly
    for parameter in "$@"; do
        case $parameter in WorkflowName=*) name=${parameter#*=} ;; esac
    done
    aws s3 cp --only-show-errors "$WORKFLOW" "s3://$(output WorkspaceBucket)/workflows/$name.toml"
fi
for name in Workspace WorkspaceBucket ImagesBucket Server Topic StateMachine DeadLetterQueue; do
    printf '%-16s %s\n' "$name" "$(output "$name")"
done
