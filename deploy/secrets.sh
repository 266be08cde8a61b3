#!/bin/sh
# Makes a password for each login of the database, once; those that are there stay as they are.
#
#   sh deploy/secrets.sh
#
# The folder is its owner's alone. The files in it can be read by all, as the containers' users,
# who see one file each, have other numbers than the people of this machine.
set -eu
folder=$(dirname "$0")/secrets
mkdir -p "$folder"
chmod 700 "$folder"
for login in postgres owner worker reader; do
    file=$folder/$login.txt
    if [ ! -s "$file" ]; then
        od -An -N 24 -t x1 /dev/urandom | tr -d ' \n' >"$file"
        chmod 644 "$file"
    fi
done
