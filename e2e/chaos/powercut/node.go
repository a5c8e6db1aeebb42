//go:build e2e

package powercut

import (
	"context"
	"os"
	"path/filepath"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// node is a file or a directory of a Disk: everything that changes one is noted before it is done.
type node struct {
	fs.LoopbackNode
	journal *journal
}

// WrapChild implements [fs.NodeWrapChilder]: what is found below a node of this disk is one, too.
func (n *node) WrapChild(context.Context, fs.InodeEmbedder) fs.InodeEmbedder {
	return &node{LoopbackNode: fs.LoopbackNode{RootData: n.RootData}, journal: n.journal}
}

// handle is a file that somebody has open.
type handle struct {
	*fs.LoopbackFile
	journal *journal
	inode   uint64 // 0 if it is open for reading only
	through bool   // O_SYNC: what is written is fsynced at once
}

// PassthroughFd refuses the kernel's way past this layer.
func (*handle) PassthroughFd() (int, bool) { return 0, false }

// Release ends the handle's use of the file.
func (h *handle) Release(ctx context.Context) syscall.Errno {
	h.journal.mu.Lock()
	if h.inode != 0 {
		h.journal.release(h.inode)
	}
	h.journal.mu.Unlock()
	return h.LoopbackFile.Release(ctx)
}

func (n *node) path(names ...string) string {
	return filepath.Join(append([]string{n.RootData.Path, n.Path(n.Root())}, names...)...)
}

const writing = syscall.O_WRONLY | syscall.O_RDWR

// open opens a file below, and notes that it is open.
func (n *node) open(path string, flags uint32, mode uint32) (*handle, syscall.Errno) {
	through := flags&(syscall.O_SYNC|syscall.O_DSYNC) != 0
	// An fsync of the directory below would only cost time, and an append is told where it goes.
	plain := int(flags) &^ (syscall.O_SYNC | syscall.O_DSYNC | syscall.O_APPEND | fuse.FMODE_EXEC)
	h := &handle{journal: n.journal, through: through}
	truncate := plain&syscall.O_TRUNC != 0
	f, err := os.OpenFile(path, plain&^syscall.O_TRUNC, os.FileMode(mode))
	if err != nil {
		return nil, fs.ToErrno(err)
	}
	if plain&writing != 0 {
		if h.inode, err = n.journal.open(path); err == nil && truncate {
			err = n.journal.truncate(h.inode, f, 0)
		}
	}
	if err != nil {
		f.Close()
		return nil, fs.ToErrno(err)
	}
	h.LoopbackFile = fs.NewLoopbackFileFromOS(f)
	return h, 0
}

// truncate sets the size of a file.
func (j *journal) truncate(inode uint64, f *os.File, size int64) error {
	if err := j.before(inode, size, 1<<40); err != nil {
		return err
	}
	return f.Truncate(size)
}

// Create implements [fs.NodeCreater].
func (n *node) Create(
	ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut,
) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	n.journal.mu.Lock()
	defer n.journal.mu.Unlock()
	h, errno := n.open(n.path(name), flags|syscall.O_CREAT, mode)
	if errno != 0 {
		return nil, nil, 0, errno
	}
	n.journal.made(n.path(name))
	child, errno := n.Lookup(ctx, name, out)
	return child, h, 0, errno
}

// Open implements [fs.NodeOpener].
func (n *node) Open(_ context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	n.journal.mu.Lock()
	defer n.journal.mu.Unlock()
	h, errno := n.open(n.path(), flags, 0)
	return h, 0, errno
}

// Write implements [fs.NodeWriter].
func (n *node) Write(ctx context.Context, f fs.FileHandle, data []byte, off int64) (uint32, syscall.Errno) {
	h := f.(*handle)
	n.journal.mu.Lock()
	defer n.journal.mu.Unlock()
	if err := n.journal.before(h.inode, off, int64(len(data))); err != nil {
		return 0, fs.ToErrno(err)
	}
	written, errno := h.LoopbackFile.Write(ctx, data, off)
	if h.through {
		n.journal.synced(h.inode, n.path())
	}
	return written, errno
}

// Setattr implements [fs.NodeSetattrer]. Of what it sets, only the size matters after a power cut.
func (n *node) Setattr(ctx context.Context, f fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	n.journal.mu.Lock()
	defer n.journal.mu.Unlock()
	if size, ok := in.GetSize(); ok {
		inode, err := n.journal.open(n.path())
		if err == nil {
			err = n.journal.before(inode, int64(size), 1<<40)
			n.journal.release(inode)
		}
		if err != nil {
			return fs.ToErrno(err)
		}
	}
	if h, ok := f.(*handle); ok {
		return n.LoopbackNode.Setattr(ctx, h.LoopbackFile, in, out)
	}
	return n.LoopbackNode.Setattr(ctx, nil, in, out)
}

// Fsync implements [fs.NodeFsyncer], for files and directories.
func (n *node) Fsync(_ context.Context, f fs.FileHandle, _ uint32) syscall.Errno {
	n.journal.mu.Lock()
	defer n.journal.mu.Unlock()
	if n.IsDir() {
		n.journal.syncedDir(n.path())
		return 0
	}
	var stat syscall.Stat_t
	if err := syscall.Stat(n.path(), &stat); err != nil {
		return 0 // it was removed while it was open: there is nothing to keep
	}
	n.journal.synced(stat.Ino, n.path())
	return 0
}

// Mkdir implements [fs.NodeMkdirer].
func (n *node) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	n.journal.mu.Lock()
	defer n.journal.mu.Unlock()
	child, errno := n.LoopbackNode.Mkdir(ctx, name, mode, out)
	if errno == 0 {
		n.journal.made(n.path(name))
	}
	return child, errno
}

// Unlink implements [fs.NodeUnlinker].
func (n *node) Unlink(_ context.Context, name string) syscall.Errno {
	n.journal.mu.Lock()
	defer n.journal.mu.Unlock()
	return fs.ToErrno(n.journal.remove(n.path(name)))
}

// Rmdir implements [fs.NodeRmdirer].
func (n *node) Rmdir(_ context.Context, name string) syscall.Errno {
	n.journal.mu.Lock()
	defer n.journal.mu.Unlock()
	return fs.ToErrno(n.journal.removeDir(n.path(name)))
}

// Rename implements [fs.NodeRenamer].
func (n *node) Rename(_ context.Context, name string, to fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	parent, ok := to.(*node)
	if !ok || flags != 0 {
		return syscall.ENOSYS
	}
	n.journal.mu.Lock()
	defer n.journal.mu.Unlock()
	return fs.ToErrno(n.journal.move(n.path(name), parent.path(newName)))
}

// What this layer would not undo, it refuses.

// Link implements [fs.NodeLinker].
func (*node) Link(context.Context, fs.InodeEmbedder, string, *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return nil, syscall.ENOTSUP
}

// Symlink implements [fs.NodeSymlinker].
func (*node) Symlink(context.Context, string, string, *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return nil, syscall.ENOTSUP
}

// Mknod implements [fs.NodeMknoder].
func (*node) Mknod(context.Context, string, uint32, uint32, *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return nil, syscall.ENOTSUP
}

// CopyFileRange implements [fs.NodeCopyFileRanger].
func (*node) CopyFileRange(
	context.Context, fs.FileHandle, uint64, *fs.Inode, fs.FileHandle, uint64, uint64, uint64,
) (uint32, syscall.Errno) {
	return 0, syscall.ENOTSUP
}

// folder is a directory that somebody has open.
type folder struct {
	fs.FileReaddirenter
	fs.FileSeekdirer
	fs.FileReleasedirer
	node *node
}

// Fsyncdir implements [fs.FileFsyncdirer].
func (f folder) Fsyncdir(ctx context.Context, flags uint32) syscall.Errno {
	return f.node.Fsync(ctx, nil, flags)
}

// OpendirHandle implements [fs.NodeOpendirHandler].
func (n *node) OpendirHandle(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	stream, errno := fs.NewLoopbackDirStream(n.path())
	if errno != 0 {
		return nil, 0, errno
	}
	reader, ok1 := stream.(fs.FileReaddirenter)
	seeker, ok2 := stream.(fs.FileSeekdirer)
	closer, ok3 := stream.(fs.FileReleasedirer)
	if !ok1 || !ok2 || !ok3 {
		return nil, 0, syscall.ENOSYS
	}
	return folder{reader, seeker, closer, n}, 0, 0
}
