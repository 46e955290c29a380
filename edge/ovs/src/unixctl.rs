//! The control socket of the switch daemon: what `ovs-appctl` speaks.
