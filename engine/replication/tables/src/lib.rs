//! Services whose state is tables, fed by a replicated log.
