//! The statements that run often.

/// One cursor of webhook 7, as a turn saves it; its request is the 5007th.
const SAVED: &str = "5007, 0, '[{\"mapping\": \"users\", \"sequence_id\": \"200000\", \"backfilled\": true, \"rows\": 0, \"begun\": false}]', '[]', \
                     '{users}', array['{\"id\": 7}'::jsonb], '{}', '{}', 1, 0, 200, 'in_sync', null, 0";

/// Three webhooks that were told everything.
const SAVED_TOGETHER: &str = "'{5005,5006,5007}', '{0,0,0}', array_fill('[\"users\", \"teams\"]'::jsonb, '{3}'), '{200000,200000,200000}', \
                              '{1,1,1}', '{200,200,null}'";

/// A statement file, its parameters, and how many pages it may touch. A scan of a table touches
/// thousands.
pub(crate) const HOT: &[(&str, &str, i64)] = &[
    // Some 430 pages of catalogs where the server has to compile the function first.
    ("sequencer/sql/await_changes.sql", "0, 0, 0.001, 0, 0.05, 20, 0", 600),
    ("sequencer/sql/await_changes.sql", "200000, 0, 0.001, 0, 0.05, 20, 1", 600),
    // Deletes a hundred and appends a hundred, with their index entries.
    ("sequencer/sql/sequence_changes.sql", "100, '{}', 0", 3000),
    ("sequencer/sql/roll_partition.sql", "3600000", 20),
    ("requests/sql/judge_partition.sql", "10000000, 3600000", 300),
    ("poller/sql/probe_log.sql", "", 20),
    // 25 of the hundred changes concern ten destinations and ten webhooks each.
    ("requests/sql/owe_page.sql", "100", 8000),
    // The next 236 destinations and webhooks; 20 requests of this kind wait for each.
    ("requests/sql/owe_fanned_out.sql", "256", 12000),
    // Every destination is probed, twice for each of its tables.
    ("requests/sql/sweep_slice.sql", "0, 100000", 5000 * 30),
    // A slice of ten costs what ten cost.
    ("requests/sql/sweep_slice.sql", "100, 10", 10 * 35 + 100),
    ("requests/sql/sweep_due.sql", "600000", 2000),
    ("requests/sql/postpone_visits.sql", "600000", 10),
    // Looks at a thousand destinations, and owes each a visit.
    ("requests/sql/owe_place.sql", "'h', 5432, 'd', 'public', 0, 1000", 1000 * 30),
    ("requests/sql/claim_requests.sql", "16, 60000, 'me', '{1,2}'", 1500),
    ("requests/sql/complete_request.sql", "77, 0, 1", 30),
    ("requests/sql/extend_leases.sql", "'{5,6,7}', '{0,0,0}', 60000", 60),
    (
        "reading/sql/read_bounds.sql",
        "'t7', '{public.project_user,public.team}', '{199000,199000}', 5000, 10000000, 50",
        60,
    ),
    ("reading/sql/read_head.sql", "10000000", 100),
    // Five of ten thousand tenants are due. Without statistics, all of them are read, which the probe
    // prevents as long as none is due.
    (
        "jobs/sql/record_due_snapshots.sql",
        "86400000000, 'disk', '{snap_1,snap_2,snap_3,snap_4,snap_5,snap_6}', 100, '{}'",
        300,
    ),
    ("jobs/sql/probe_due_snapshots.sql", "", 20),
    ("jobs/sql/claim_job.sql", "'snapshot', 60000, 'me', '{disk}', null", 60),
    // The same for eight tenants at once, of a thousand.
    (
        "reading/sql/read_group_bounds.sql",
        "'{t1,t2,t3,t4,t5,t6,t7,t8}', array_fill('public.team'::text, '{8}'), array_fill(199000::bigint, '{8}'), 50, 10000000",
        8 * 30,
    ),
    ("requests/sql/complete_requests.sql", "'{5,6,7}', '{0,0,0}', '{1,1,1}'", 100),
    (
        "sync/sql/mirror_group.sql",
        "'{5,6,7}', '{0,0,0}', '{1,1,1}', '{users,teams}', '{a,b}', null, '{1,2}'",
        300,
    ),
    (
        "sync/sql/begin_copies_of_group.sql",
        "'{5,6,7}', '{0,0,0}', '{users,teams}', '{a,b}', '{1,1,1,1,1,1}'",
        300,
    ),
    ("sync/sql/read_identities.sql", "'{5,6,7}', '{5,6,7}', '{1,1,1}', '{5,6,7}', '{0,0,0}'", 100),
    ("sync/sql/read_mirrored_of_group.sql", "'{5,6,7}'", 60),
    ("sync/sql/begin_visits.sql", "'{5,6,7}', '{0,0,0}'", 200),
    // The tables are as large as these say, without statistics.
    ("loops/sql/read_blown_fuses.sql", "", 1000),
    ("requests/sql/claim_webhooks.sql", "16, 60000, 'me', '{1,2}'", 1500),
    ("requests/sql/fail_webhook.sql", "5007, 0, 1000, 'e', 'r', 500, 1000, true, false", 60),
    ("requests/sql/sweep_webhooks.sql", "100, 10", 10 * 30 + 500),
    ("requests/sql/disable_webhook.sql", "7, 'r'", 60),
    ("webhooks/sql/save_progress.sql", SAVED, 100),
    ("webhooks/sql/save_group.sql", SAVED_TOGETHER, 200),
    ("webhooks/sql/add_attempts.sql", "5007, 0, '[{\"ago_ms\": 1}]'", 60),
    ("webhooks/sql/fail_webhook_mapping.sql", "5007, 0, 'users', null, 'e', 1, 1", 60),
    (
        "reading/sql/read_event_bounds.sql",
        "'t7', '{public.project_user,public.team}', '{199000,199000}', '{null,null}', 1000, 10000000, '{users,teams}', 7",
        80,
    ),
    // The same for eight webhooks at once.
    (
        "reading/sql/read_event_group_bounds.sql",
        "'{t1,t2,t3,t4,t5,t6,t7,t8}', array_fill('public.team'::text, '{8}'), array_fill(199000::bigint, '{8}'), 50, 10000000",
        8 * 30,
    ),
    ("webhooks/sql/settle_webhooks.sql", "'{5,6,7}'", 100),
    // The status counts captured changes, up to a bound.
    ("admin/sql/list_destinations.sql", "'t7', null, null, null, null", 3000),
    // A page of ten among all destinations.
    ("admin/sql/list_destinations.sql", "null, null, 't3', 'main', 10", 4000),
    // What `offtake why` asks of one destination, and of one key.
    ("admin/sql/knows_fuse.sql", "'destination:t7/d3'", 60),
    ("admin/sql/read_way.sql", "7, null", 60),
    ("admin/sql/find_key_changes.sql", "'t7', 'public.team', '{\"id\": 7}'", 400),
    // As the status, it looks at captured changes up to a bound.
    ("admin/sql/find_pending_changes.sql", "'t7', 'public.team', '{\"id\": 7}'", 4000),
    ("admin/sql/find_quarantined.sql", "7, null, 'users', '{\"id\": 7}'", 20),
    ("admin/sql/read_key_columns.sql", "'t7', 'users'", 400),
    ("offtake/sql/list_overdue_partitions.sql", "3600000", 100),
    ("sync/sql/has_unshared.sql", "'public'", 20),
    // The 5 000 with a request are looked at, and so are those with one of the captured changes.
    ("admin/sql/list_unsettled.sql", "", 5000 * 40),
    ("admin/sql/choose_unsettled_webhooks.sql", "", 5000 * 40),
    // A page of ten among all webhooks.
    ("admin/sql/list_webhooks.sql", "null, null, 't3', 'w1', 10, null", 4000),
];

/// What `claim_requests.sql` is completed with.
pub(crate) const OF_THESE: [&str; 2] = [
    "r.failures > 0 and r.destination_id <> all($4::bigint[])",
    "(r.failures > 0 and r.destination_id <> all($4::bigint[])) is not true",
];
