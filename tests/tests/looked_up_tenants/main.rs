//! Rows whose tenant is named by another row, when the rows on the way to it change at about the
//! same time: the tenant that had the row loses it.

mod one_step;
mod refused;
mod several_steps;

/// A line's tenant is its invoice's customer's.
const LINES: &str = "\
source:
  table: public.line
  tenant:
    - { table: public.invoice, match: { id: invoice_id } }
    - { table: public.customer, column: org, match: { id: customer_id } }
query: |
  select c.org as tenant_id, l.id, l.amount
    from public.line l
    join public.invoice i on i.id = l.invoice_id
    join public.customer c on c.id = i.customer_id
target: { table: lines }
";
