//go:build !(linux || darwin || freebsd)

package embed

import "errors"

func diskOf(string) (free, total int64, err error) { return 0, 0, errors.ErrUnsupported }
