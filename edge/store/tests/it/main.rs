//! The store against kills, full disks and power cuts.

mod damage;
mod kill;
mod power;
mod work;
