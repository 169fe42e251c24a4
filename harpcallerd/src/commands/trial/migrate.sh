#!/bin/sh
# Fails, so that there is a failure to look at.
echo 'connecting to the database'
sleep 1
echo 'migration 12 of 14'
printf '\033[31mERROR\033[0m relation "users" does not exist\n'
echo 'migration 13 needs the table "users", which is not there' >&2
exit 3
