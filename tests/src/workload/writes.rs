//! What a writer writes. Every choice comes from its random numbers and none from data that it
//! reads, so that a seed can be replayed.

use offtake_mapping::literal;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

/// One transaction of the workload.
#[derive(Debug, Clone)]
pub(super) struct Transaction {
    pub(super) statements: Vec<String>,
    /// How long the transaction stays open before its end.
    pub(super) open_ms: u64,
    pub(super) commit: bool,
}

/// Small ranges, so that most writes hit an existing row, and rows of other writers.
const PARENTS: u32 = 12;
const CHILDREN: u32 = 6;
const ITEMS: u32 = 160;
const PARTS: u32 = 80;
const RATES: u32 = 25;
const NOTES: u32 = 30;

/// A writer's random choices.
pub(super) struct Writer {
    random: StdRng,
    /// The last tenant has no destination.
    tenants: Vec<String>,
}

impl Writer {
    pub(super) fn new(seed: u64, tenants: Vec<String>) -> Self {
        Self { random: StdRng::seed_from_u64(seed), tenants }
    }

    pub(super) fn transaction(&mut self) -> Transaction {
        let length = if self.one_in(20) { 30 } else { self.random.random_range(1..=5) };
        let mut statements = Vec::new();
        for _ in 0..length {
            let undone = self.one_in(10);
            if undone {
                statements.push("savepoint undone".to_owned());
            }
            statements.push(self.write());
            if undone {
                statements.push("rollback to savepoint undone".to_owned());
            }
        }
        let open_ms = if self.one_in(25) { self.random.random_range(200..1500) } else { 0 };
        Transaction { statements, open_ms, commit: !self.one_in(7) }
    }

    fn one_in(&mut self, n: u32) -> bool {
        self.random.random_range(0..n) == 0
    }

    fn write(&mut self) -> String {
        match self.random.random_range(0..1000) {
            0..225 => self.note(),
            225..250 => self.rate(),
            250..450 => self.parent(),
            450..700 => self.child(),
            700..840 => self.item(),
            840..900 => self.part(),
            900..970 => self.owner(),
            970..996 => self.refill(),
            _ => self.truncate(),
        }
    }

    fn note(&mut self) -> String {
        let (scope, other, name, to, body) =
            (self.scope(), self.scope(), self.name(), self.name(), self.body());
        match self.random.random_range(0..9) {
            0 | 1 => format!(
                "insert into work.note (scope, name, body) values ({scope}, {name}, {body}) on conflict (scope, name) do update set body = excluded.body"
            ),
            2 => format!(
                "update work.note set body = {body} where scope = {scope} and name = {name}"
            ),
            3 => format!("update work.note set body = {body} where scope = {scope}"),
            4 => format!("delete from work.note where scope = {scope} and name = {name}"),
            5 => format!(
                "delete from work.note where scope = {scope} and name = {name}; insert into work.note (scope, name, body) values ({scope}, {name}, {body})"
            ),
            6 => format!(
                "update work.note n set name = {to} where scope = {scope} and name = {name} \
                 and not exists (select from work.note o where o.scope = n.scope and o.name = {to})"
            ),
            7 => format!(
                "update work.note n set scope = {other} where scope = {scope} and name in ({name}, {to}) \
                 and not exists (select from work.note o where o.scope = {other} and o.name = n.name)"
            ),
            _ => format!(
                "merge into work.note n using (select {scope}, {name} union select {scope}, {to}) v (scope, name) on n.scope = v.scope and n.name = v.name \
                 when matched and n.body < {body} then delete when matched then update set body = {body} \
                 when not matched then insert (scope, name, body) values (v.scope, v.name, {body})"
            ),
        }
    }

    fn rate(&mut self) -> String {
        let (id, to, body) =
            (self.random.random_range(0..RATES), self.random.random_range(0..RATES), self.body());
        match self.random.random_range(0..8) {
            0..3 => format!("update work.rate set body = {body} where id = {id}"),
            3..5 => format!(
                "insert into work.rate (id, body) values ({id}, {body}) on conflict (id) do update set body = excluded.body"
            ),
            5 => format!("delete from work.rate where id = {id}"),
            6 => format!(
                "update work.rate set id = {to} where id = {id} and not exists (select from work.rate where id = {to})"
            ),
            _ => format!("update work.rate set body = {body} where id between {id} and {to}"),
        }
    }

    fn parent(&mut self) -> String {
        let (tenant, other, id, to, body) =
            (self.tenant(), self.tenant(), self.parent_id(), self.parent_id(), self.body());
        let free = |tenant: &str, id: &str| {
            format!(
                "not exists (select from work.parent o where o.tenant = {tenant} and o.id = {id})"
            )
        };
        match self.random.random_range(0..8) {
            0 => format!(
                "insert into work.parent (tenant, id, body) values ({tenant}, {id}, {body}) on conflict (tenant, id) do update set body = excluded.body"
            ),
            1 | 2 => format!(
                "update work.parent set body = {body} where tenant = {tenant} and id = {id}"
            ),
            3 => format!(
                "update work.parent set archived = not archived where tenant = {tenant} and id = {id}"
            ),
            4 => format!("delete from work.parent where tenant = {tenant} and id = {id}"),
            5 => format!(
                "update work.parent set id = {to} where tenant = {tenant} and id = {id} and {}",
                free(&tenant, &to)
            ),
            6 => format!(
                "update work.parent set tenant = {other} where tenant = {tenant} and id = {id} and {}",
                free(&other, &id)
            ),
            _ => format!(
                "delete from work.parent where tenant = {tenant} and id = {id}; insert into work.parent (tenant, id, body) values ({tenant}, {id}, {body})"
            ),
        }
    }

    fn child(&mut self) -> String {
        let (tenant, parent, other, body) =
            (self.tenant(), self.parent_id(), self.parent_id(), self.body());
        let (no, to) =
            (self.random.random_range(0..CHILDREN), self.random.random_range(0..CHILDREN));
        let of_parent = format!("tenant = {tenant} and parent = {parent}");
        let exists = |id: &str| {
            format!(
                "exists (select from work.parent where tenant = {tenant} and id = {id} for key share)"
            )
        };
        let free = |parent: &str, no: &str| {
            format!(
                "not exists (select from work.child o where o.tenant = {tenant} and o.parent = {parent} and o.no = {no})"
            )
        };
        match self.random.random_range(0..10) {
            0..=2 => format!(
                "insert into work.child (tenant, parent, no, body) select {tenant}, {parent}, {no}, {body} where {} \
                 on conflict (tenant, parent, no) do update set body = excluded.body, hidden = false",
                exists(&parent)
            ),
            3 => format!("update work.child set body = {body} where {of_parent} and no = {no}"),
            4 => format!("update work.child set body = {body} where {of_parent}"),
            5 => {
                format!("update work.child set hidden = not hidden where {of_parent} and no = {no}")
            }
            6 => format!(
                "update work.child set no = {to} where {of_parent} and no = {no} and {}",
                free(&parent, &to.to_string())
            ),
            7 => format!(
                "update work.child c set parent = {other} where {of_parent} and {} and {}",
                exists(&other),
                free(&other, "c.no")
            ),
            8 => format!("delete from work.child where {of_parent} and no = {no}"),
            // Both writes of one statement see the same snapshot, so the row comes back under
            // another key.
            _ => format!(
                "with gone as (delete from work.child where {of_parent} and no = {no} returning *) \
                 insert into work.child (tenant, parent, no, hidden, body) select tenant, parent, 100 + {to}, hidden, {body} from gone \
                 on conflict do nothing"
            ),
        }
    }

    fn item(&mut self) -> String {
        let (id, to, code, body) = (
            self.random.random_range(0..ITEMS),
            self.random.random_range(0..ITEMS),
            self.code(),
            self.body(),
        );
        match self.random.random_range(0..9) {
            0 | 1 => format!(
                "insert into work.item (id, code, body) select {id}, {code}, {body} where not exists (select from work.item where id = {id})"
            ),
            2 => format!("update work.item set body = {body} where id = {id}"),
            3 => format!("update work.item set code = {code} where id = {id}"),
            4 => format!("delete from work.item where id = {id}"),
            5 => format!(
                "delete from work.item where id = {id}; insert into work.item (id, code, body) values ({id}, {code}, {body})"
            ),
            6 => format!(
                "update work.item set id = case id when {id} then {to} else {id} end where id in ({id}, {to})"
            ),
            7 => format!(
                "set constraints all deferred; update work.item set id = {to} where id = {id}; \
                 update work.item set id = {id}, body = {body} where version = (select min(version) from work.item where id = {to}); set constraints all immediate"
            ),
            _ => format!("update work.item set body = {body} where code = {code}"),
        }
    }

    fn part(&mut self) -> String {
        let (id, item, to, body) = (
            self.random.random_range(0..PARTS),
            self.random.random_range(0..ITEMS),
            self.random.random_range(0..ITEMS),
            self.body(),
        );
        match self.random.random_range(0..6) {
            0 | 1 => format!(
                "insert into work.part (id, item, body) values ({id}, {item}, {body}) on conflict (id) do update set item = excluded.item, body = excluded.body"
            ),
            2 => format!("update work.part set body = {body} where id = {id}"),
            3 => format!("update work.part set item = {to} where item = {item}"),
            4 => format!("delete from work.part where id = {id}"),
            // All steps of the way at once.
            _ => {
                let (code, tenant) = (self.code(), self.tenant());
                format!(
                    "update work.part set item = {to} where id = {id}; \
                     update work.item set code = {code} where id in ({item}, {to}); \
                     update work.owner set tenant = {tenant} where code = {code}"
                )
            }
        }
    }

    fn owner(&mut self) -> String {
        let (code, to, tenant, body) = (self.code(), self.code(), self.tenant(), self.body());
        match self.random.random_range(0..6) {
            0 | 1 => format!("update work.owner set tenant = {tenant} where code = {code}"),
            2 => format!("update work.owner set body = {body} where code = {code}"),
            3 => format!(
                "update work.owner set code = case code when {code} then {to} else {code} end where code in ({code}, {to})"
            ),
            4 => format!("delete from work.owner where code = {code}"),
            _ => format!(
                "insert into work.owner (code, tenant, body) select {code}, {tenant}, {body} where not exists (select from work.owner where code = {code})"
            ),
        }
    }

    /// Inserts rows again that truncates and deletes have removed.
    fn refill(&mut self) -> String {
        let (tenant, scope, code, body) = (self.tenant(), self.scope(), self.code(), self.body());
        match self.random.random_range(0..5) {
            3 => format!(
                "insert into work.part (id, item, body) select n, n * 3 % {ITEMS}, {body} from generate_series(0, {PARTS} - 1, 2) n on conflict do nothing"
            ),
            0 => format!(
                "insert into work.note (scope, name, body) select {scope}, 'n' || n, {body} from generate_series(0, {NOTES} - 1) n on conflict do nothing"
            ),
            1 => format!(
                "insert into work.parent (tenant, id, body) select {tenant}, md5('p' || n)::uuid, {body} from generate_series(0, {PARENTS} - 1) n \
                 on conflict do nothing"
            ),
            2 => format!(
                "insert into work.child (tenant, parent, no, body) select tenant, id, no, {body} \
                 from (select tenant, id from work.parent where tenant = {tenant} order by id for key share) p, generate_series(0, {CHILDREN} - 1) no \
                 on conflict do nothing"
            ),
            _ => format!(
                "insert into work.item (id, code, body) select n, {code}, {body} from generate_series(0, {ITEMS} - 1, 4) n \
                 where not exists (select from work.item where id = n)"
            ),
        }
    }

    fn truncate(&mut self) -> String {
        let (scope, name, body) = (self.scope(), self.name(), self.body());
        match self.random.random_range(0..7) {
            0 => "truncate work.note".to_owned(),
            5 => "truncate work.part".to_owned(),
            1 => format!(
                "truncate work.note; insert into work.note (scope, name, body) values ({scope}, {name}, {body})"
            ),
            2 => "truncate work.child".to_owned(),
            3 => "truncate work.parent cascade".to_owned(),
            4 => "truncate work.item".to_owned(),
            _ => "savepoint kept; truncate work.note, work.child; rollback to savepoint kept"
                .to_owned(),
        }
    }

    fn tenant(&mut self) -> String {
        literal(self.tenants.choose(&mut self.random).expect("there are tenants"))
    }

    fn scope(&mut self) -> String {
        let tenant = self.tenants.choose(&mut self.random).expect("there are tenants");
        literal(&format!("org/{tenant}"))
    }

    fn parent_id(&mut self) -> String {
        format!("md5('p{}')::uuid", self.random.random_range(0..PARENTS))
    }

    fn code(&mut self) -> String {
        literal(&format!("c{}", self.random.random_range(0..2 * self.tenants.len())))
    }

    /// A key. Keys sort differently in different collations, and need every kind of escape.
    fn name(&mut self) -> String {
        let n = self.random.random_range(0..NOTES);
        let prefixes = ["n", "N", "ä", "_", "\\", "'", " ", "\t", "\u{1F600}", "z\n", "-", "n "];
        if self.one_in(3) {
            literal(&format!("n{n}"))
        } else {
            literal(&format!("{}{}", prefixes[n as usize % prefixes.len()], n))
        }
    }

    fn body(&mut self) -> String {
        let n: u32 = self.random.random();
        match n % 10 {
            0 => literal(""),
            1 => literal(&format!("{n:x}").repeat(40)),
            _ => literal(&format!("{n:x}")),
        }
    }
}
