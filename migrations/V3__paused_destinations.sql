-- Every daemon looks twice a second for what is paused, so that a pause acts at once: there may be a million destinations, and few of
-- them are paused.
create index destination_paused on offtake.destination (destination_id) where paused_at is not null;
