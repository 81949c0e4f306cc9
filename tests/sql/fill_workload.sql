-- The workload's first rows. {tenants} is an array of tenant ids.
insert into work.owner (code, tenant, body)
select 'c' || n, (array[{tenants}])[1 + n % cardinality(array[{tenants}])], 'first' from generate_series(0, 2 * cardinality(array[{tenants}]) - 1) n;
insert into work.parent (tenant, id, body) select t, md5('p' || n)::uuid, 'first' from unnest(array[{tenants}]) t, generate_series(0, 11) n;
insert into work.child (tenant, parent, no, body) select t, md5('p' || n)::uuid, no, 'first' from unnest(array[{tenants}]) t, generate_series(0, 11) n, generate_series(0, 4) no;
insert into work.item (id, code, body) select n, 'c' || n % (2 * cardinality(array[{tenants}])), 'first' from generate_series(0, 149) n;
insert into work.part (id, item, body) select n, n * 7 % 150, 'first' from generate_series(0, 79) n;
insert into work.rate (id, body) select n, 'first' from generate_series(0, 19) n;
insert into work.note (scope, name, body) select 'org/' || t, 'n' || n, 'first' from unnest(array[{tenants}]) t, generate_series(0, 29) n;
