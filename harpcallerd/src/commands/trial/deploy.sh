#!/bin/sh
# Deploys nothing, and says so in colours.
release=${1:-release-1}
printf '\033[1mdeploying %s\033[0m\n' "$release"
for step in fetch unpack check stop migrate copy link start; do
    printf '  \033[36m%-8s\033[0m' "$step"
    sleep 1
    printf '\033[32mok\033[0m\n'
done
printf '\033[33mwarning:\033[0m the cache is cold, warming it\n'
done=0
while [ $done -le 20 ]; do
    bar=$(printf '%*s' $done '' | tr ' ' '#')
    printf '\r  [%-20s] %3d%%' "$bar" $((done * 5))
    done=$((done + 1))
    sleep 0.5
done
printf '\n'
for host in 1 2 3 4 5 6 7 8 9 10; do
    printf '  web%02d \033[2manswers in\033[0m %d ms\n' $host $((host * 7 % 13 + 3))
    sleep 0.7
done
printf '\033[1;32m%s is live\033[0m\n' "$release"
