-- Which version of a mapping a copy was made for, as far as numbering and capture are concerned.

alter table offtake.destination_mapping add column need text;
comment on column offtake.destination_mapping.need is
  'The mapping''s name and a hash of what wakes it, as in numbering.needs, of the version that is copied here; told before anything is copied. '
  'Null: not known.';
