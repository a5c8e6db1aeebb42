//go:build e2e

package powercut

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// Available returns why no disk can be mounted here, or nil.
func Available() error {
	if os.Getuid() != 0 {
		return errors.New("mounting takes root")
	}
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

// Disk is a mounted directory. Its methods are for one goroutine; the directory, for any process.
type Disk struct {
	Dir string // where it is mounted

	below   string // where the bytes are
	journal *journal
	server  *fuse.Server
}

// New makes an empty disk in a directory, and mounts it. Close it.
func New(dir string) (*Disk, error) {
	d := &Disk{Dir: filepath.Join(dir, "disk"), below: filepath.Join(dir, "below")}
	trash := filepath.Join(dir, "trash")
	for _, path := range []string{d.Dir, d.below, trash} {
		if err := os.MkdirAll(path, 0o700); err != nil {
			return nil, fmt.Errorf("make a disk: %w", err)
		}
	}
	d.journal = newJournal(trash)
	return d, d.mount()
}

func (d *Disk) mount() error {
	data := &fs.LoopbackRoot{Path: d.below}
	var stat syscall.Stat_t
	if err := syscall.Stat(d.below, &stat); err != nil {
		return fmt.Errorf("mount %s: %w", d.Dir, err)
	}
	data.Dev = stat.Dev
	root := &node{LoopbackNode: fs.LoopbackNode{RootData: data}, journal: d.journal}
	server, err := fs.Mount(d.Dir, root, &fs.Options{MountOptions: fuse.MountOptions{
		DirectMountStrict: true, DisableXAttrs: true, FsName: "powercut", Name: "powercut",
	}})
	if err != nil {
		return fmt.Errorf("mount %s: %w", d.Dir, err)
	}
	d.server = server
	return nil
}

// Cut is what a power cut does to the disk: nobody must use it any more, and everything that was not fsynced is undone. It
// returns how much that was.
func (d *Disk) Cut() (undone int, err error) {
	if err := d.unmount(); err != nil {
		return 0, err
	}
	undone, err = d.journal.undo()
	return undone, errors.Join(err, d.mount())
}

// Close unmounts the disk.
func (d *Disk) Close() error {
	err := d.unmount()
	d.journal.forget()
	return err
}

func (d *Disk) unmount() error {
	if err := d.server.Unmount(); err != nil {
		return fmt.Errorf("unmount %s: %w", d.Dir, err)
	}
	d.server.Wait()
	return nil
}
