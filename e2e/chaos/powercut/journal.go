//go:build e2e

package powercut

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// journal remembers how to undo what was not fsynced. Safe for concurrent use.
type journal struct {
	trash string

	mu     sync.Mutex
	thrown int // files in the trash, ever
	names  []change
	files  map[uint64]*shadow // by inode
}

// change is one of a name: made, moved or removed.
type change struct {
	from, to string // to is the name that bears the file now; empty if none does
	undo     func() error
	settle   func() // it was fsynced: what was kept for undo may go
}

// shadow is what is not fsynced of one file.
type shadow struct {
	file  *os.File
	users int // open handles
	old   []piece
}

// piece is what stood in a file before a write or a truncation.
type piece struct {
	at, size int64 // size of the whole file
	data     []byte
}

func newJournal(trash string) *journal { return &journal{trash: trash, files: map[uint64]*shadow{}} }

// open counts a handle for writing. The file is opened once more, since the handle may go before the power does.
func (j *journal) open(path string) (uint64, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	var stat syscall.Stat_t
	if err := syscall.Fstat(int(f.Fd()), &stat); err != nil {
		f.Close()
		return 0, err
	}
	s := j.files[stat.Ino]
	if s == nil {
		s = &shadow{file: f}
		j.files[stat.Ino] = s
	} else {
		f.Close()
	}
	s.users++
	return stat.Ino, nil
}

func (j *journal) release(inode uint64) {
	if s := j.files[inode]; s != nil {
		s.users--
		j.drop(inode, s)
	}
}

// drop forgets a file of which there is nothing to undo.
func (j *journal) drop(inode uint64, s *shadow) {
	if s.users == 0 && len(s.old) == 0 {
		s.file.Close()
		delete(j.files, inode)
	}
}

// before notes what stands where bytes are about to be written.
func (j *journal) before(inode uint64, at, length int64) error {
	s := j.files[inode]
	stat, err := s.file.Stat()
	if err != nil {
		return err
	}
	p := piece{at: at, size: stat.Size()}
	if n := min(length, p.size-at); n > 0 {
		p.data = make([]byte, n)
		if _, err := s.file.ReadAt(p.data, at); err != nil {
			return err
		}
	}
	s.old = append(s.old, p)
	return nil
}

// synced forgets what there was to undo of a file, and of the names that lead to it.
func (j *journal) synced(inode uint64, path string) {
	if s := j.files[inode]; s != nil {
		s.old = nil
		j.drop(inode, s)
	}
	j.settle(func(c *change) bool {
		return leads(c.to, path) || leads(c.from, path)
	})
}

// syncedDir forgets what there was to undo of the names in a directory, and of those that lead to it.
func (j *journal) syncedDir(dir string) {
	j.settle(func(c *change) bool {
		return filepath.Dir(c.to) == dir || filepath.Dir(c.from) == dir || leads(c.to, dir) || leads(c.from, dir)
	})
}

// settle forgets those changes, and what was done before to the same names: what a name bears now for good, it does not
// bear besides something else.
func (j *journal) settle(which func(*change) bool) {
	var left []change
	var names []string
	for _, c := range slices.Backward(j.names) {
		taken := slices.ContainsFunc(names, func(name string) bool { return leads(c.to, name) || leads(c.from, name) })
		if !taken && !which(&c) {
			left = append(left, c)
			continue
		}
		if c.settle != nil {
			c.settle()
		}
		names = append(names, c.to, c.from)
	}
	slices.Reverse(left)
	j.names = left
}

// leads reports whether name is path or a directory that it lies in. A name that was given up and leads to what is durable
// now bears something else: it was given up for good.
func leads(name, path string) bool {
	return name != "" && path != "" && (path == name || strings.HasPrefix(path, name+"/"))
}

// made notes a new name.
func (j *journal) made(path string) {
	j.names = append(j.names, change{to: path, undo: func() error { return os.RemoveAll(path) }})
}

// remove throws a file away in such a way that it can be brought back.
func (j *journal) remove(path string) error {
	kept, err := j.throw(path)
	if err == nil {
		j.names = append(j.names, change{from: path, undo: func() error { return os.Rename(kept, path) }, settle: func() { os.Remove(kept) }})
	}
	return err
}

func (j *journal) throw(path string) (string, error) {
	j.thrown++
	kept := filepath.Join(j.trash, fmt.Sprint(j.thrown))
	return kept, os.Rename(path, kept)
}

// removeDir removes an empty directory.
func (j *journal) removeDir(path string) error {
	err := syscall.Rmdir(path)
	if err == nil {
		j.names = append(j.names, change{from: path, undo: func() error { return os.Mkdir(path, 0o700) }})
	}
	return err
}

// move gives a file another name, which another file may bear.
func (j *journal) move(from, to string) error {
	kept, err := j.throw(to)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.Rename(from, to); err != nil {
		return errors.Join(err, os.Rename(kept, to))
	}
	j.names = append(j.names, change{
		from: from, to: to, settle: func() { os.RemoveAll(kept) },
		undo: func() error {
			err := os.Rename(to, from)
			if restored := os.Rename(kept, to); restored != nil && !errors.Is(restored, os.ErrNotExist) {
				err = errors.Join(err, restored)
			}
			return err
		},
	})
	return nil
}

// undo undoes everything, the last first, and returns how much it was.
func (j *journal) undo() (undone int, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	var faults []error
	for _, s := range j.files {
		for _, p := range slices.Backward(s.old) {
			_, err := s.file.WriteAt(p.data, p.at)
			faults = append(faults, err, s.file.Truncate(p.size))
			undone++
		}
	}
	for _, c := range slices.Backward(j.names) {
		if err := c.undo(); err != nil && !errors.Is(err, os.ErrNotExist) {
			faults = append(faults, err)
		}
		undone++
	}
	j.clear()
	return undone, errors.Join(faults...)
}

func (j *journal) forget() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.clear()
}

func (j *journal) clear() {
	for _, s := range j.files {
		s.file.Close()
	}
	j.names, j.files = nil, map[uint64]*shadow{}
}
