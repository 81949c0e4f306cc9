//! What `POST …/recreate` does inside the daemon: move a damaged SQLite file aside. Sessions of this
//! process that still have it open notice that it was moved, and leave it.

use offtake_admin::{NotRecreated, Recreated, Recreator};
use offtake_sync::destinations::{Place, Registry};

pub(super) fn recreator(registry: Registry) -> Recreator {
    Box::new(move |tenant, name| {
        let all = registry.all();
        Box::pin(async move {
            let of = all.values().find(|r| r.spec.tenant_id == tenant && r.spec.name == name);
            let of = of.ok_or_else(|| {
                NotRecreated::Failed(format!("this daemon does not know {tenant}/{name} yet"))
            })?;
            let place = &of.spec.place;
            let Place::Sqlite(file) = &**place else {
                let why = "only a destination that is a SQLite file can be made anew; a re-copy is \
                           made in place";
                return Err(NotRecreated::Sound(why.to_owned()));
            };
            let damage = match file.damage().await {
                Ok(Some(damage)) => damage,
                Ok(None) => {
                    let why = "SQLite finds no damage in its file, or there is no file; a re-copy is \
                               made in place";
                    return Err(NotRecreated::Sound(why.to_owned()));
                }
                Err(trouble) => return Err(NotRecreated::Failed(trouble.message)),
            };
            let moved_to = file.name_aside();
            file.move_to(&moved_to).map_err(|trouble| NotRecreated::Failed(trouble.message))?;
            let there = all.iter().filter(|(_, other)| other.spec.place.overlaps(place));
            let destinations = there.map(|(id, _)| *id).collect();
            Ok(Recreated { damage, moved_to, destinations })
        })
    })
}
