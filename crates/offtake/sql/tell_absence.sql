-- Says that the daemon $1 (text) has ended.
delete from offtake.daemon where process = $1
