package broker

import (
	"fmt"
	"strings"
)

// unlike are the streams that are not as configured, by how they differ.
type unlike map[string][]string

func (u unlike) note(s *streamed) {
	have, want := s.info.Config, s.want
	var is []string
	if have.MaxAge != want.MaxAge {
		is = append(is, fmt.Sprintf("kept for %s, configured %s", have.MaxAge, want.MaxAge))
	}
	if have.MaxBytes != want.MaxBytes {
		is = append(is, fmt.Sprintf("%s, configured %s", sizeOf(have.MaxBytes), sizeOf(want.MaxBytes)))
	}
	if have.Replicas != want.Replicas {
		is = append(is, fmt.Sprintf("%d replicas, configured %d", have.Replicas, want.Replicas))
	}
	if len(is) > 0 {
		text := strings.Join(is, "; ")
		u[text] = append(u[text], s.want.Name)
	}
}

// sizeOf writes bytes as the configuration does.
func sizeOf(bytes int64) string {
	switch {
	case bytes <= 0:
		return "no bound of bytes"
	case bytes%(1<<30) == 0:
		return fmt.Sprintf("%dGiB", bytes>>30)
	case bytes%(1<<20) == 0:
		return fmt.Sprintf("%dMiB", bytes>>20)
	}
	return fmt.Sprintf("%d bytes", bytes)
}

// namesOf lists streams; several partitions' as one, with their number.
func namesOf(streams []string) string {
	var families []string
	members := map[string][]string{}
	for _, name := range streams {
		family := strings.TrimRight(name, "0123456789")
		if members[family] == nil {
			families = append(families, family)
		}
		members[family] = append(members[family], name)
	}
	for i, family := range families {
		if all := members[family]; len(all) == 1 {
			families[i] = all[0]
		} else {
			families[i] = fmt.Sprintf("%s* (%d)", family, len(all))
		}
	}
	return strings.Join(families, ", ")
}
