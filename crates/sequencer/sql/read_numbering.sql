-- Who numbered last, and whether it knew just these mappings: $1 text[] needs. No row: nobody yet.
select daemon, needs = $1 as same from offtake.numbering
