echo $$ >"$1"
exec sleep 1000
