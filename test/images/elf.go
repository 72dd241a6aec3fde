package images

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"fmt"
	"path"
)

// libraries says which shared libraries a layer has, by file name, and which its programs and libraries need, by path.
type libraries struct {
	has   map[string]bool
	needs map[string][]string
}

// libraries reads the ELF files of the tree. Links count as libraries too: that is what loaders look for.
func (t tree) libraries() (libraries, error) {
	l := libraries{has: map[string]bool{}, needs: map[string][]string{}}
	for name, e := range t {
		if e.header.Typeflag != tar.TypeDir {
			l.has[path.Base(name)] = true
		}
		if !bytes.HasPrefix(e.body, []byte(elf.ELFMAG)) {
			continue
		}
		f, err := elf.NewFile(bytes.NewReader(e.body))
		if err != nil {
			return libraries{}, fmt.Errorf("read %s: %w", name, err)
		}
		needed, err := f.ImportedLibraries()
		if err != nil {
			return libraries{}, fmt.Errorf("read what %s needs: %w", name, err)
		}
		l.needs[name] = needed
	}
	return l, nil
}

// checkLibraries fails if a program of an image needs a library that no layer of the image has: the list of packages is
// short of one.
func checkLibraries(layers []libraries) error {
	for _, l := range layers {
		for name, needed := range l.needs {
			for _, library := range needed {
				if !anyHas(layers, library) {
					return fmt.Errorf("%s needs %s, which no package of the image has", name, library)
				}
			}
		}
	}
	return nil
}

func anyHas(layers []libraries, library string) bool {
	for _, l := range layers {
		if l.has[library] {
			return true
		}
	}
	return false
}
