-- Which daemon numbered last, and whether it knew exactly the mappings with the needs $1 text[]. No
-- row if no daemon has numbered yet.
select daemon, needs = $1 as same from offtake.numbering
