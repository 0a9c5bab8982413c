package duck

import "slices"

// Reach sets the folders that files may be read from besides Options.AllowedDirs, and whose files may
// change. The settings of an instance are locked, so other folders mean another instance: what runs
// goes on in the old one, which ends with its last connection; until then both have their memory.
func (d *DB) Reach(dirs []string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || slices.Equal(d.opts.reach, dirs) {
		return nil
	}
	o := d.opts
	o.reach = slices.Clone(dirs)
	if err := o.Validate(); err != nil {
		return err
	}
	in, err := d.start(o)
	if err != nil {
		return err
	}
	d.retire(d.cur)
	d.opts, d.cur = o, in
	d.starts++
	return nil
}
