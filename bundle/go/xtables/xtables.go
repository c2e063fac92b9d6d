// Package xtables chooses between the two iptables that exist on Linux, legacy and nft, by looking at the host.
//
// Rules written through the wrong one are invisible to the host's other tools and are evaluated in an order that
// nobody chose. So a program in a host-network container has to use what the host uses already. The image has both;
// a directory per mode holds the names `iptables`, `iptables-save`, ... as links; choosing is putting one of these
// directories first in PATH, before anything is executed. No shell is needed for that.
package xtables

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
)

// Mode is the name of a directory below Directory.
type Mode string

const (
	NFT    Mode = "nft"
	Legacy Mode = "legacy"

	// Directory has one subdirectory of links per mode; the bundle's image assembly makes it.
	Directory = "/usr/lib/junioadm/xtables"
)

// hints are chains that a kubelet or an earlier kube-proxy leaves for exactly this question (KEP-3178).
var hints = [][]byte{[]byte(":KUBE-IPTABLES-HINT"), []byte(":KUBE-KUBELET-CANARY"), []byte(":KUBE-PROXY-CANARY")}

// Choose looks at the host's rules and puts the matching tools first in PATH. Where the image has no such
// directory (a binary run on a plain host), PATH stays and the host's own default is used.
func Choose() (Mode, error) {
	if _, err := os.Stat(Directory); err != nil {
		return "", nil
	}
	mode := detect(save)
	path := filepath.Join(Directory, string(mode)) + string(os.PathListSeparator) + os.Getenv("PATH")
	return mode, os.Setenv("PATH", path)
}

// detect follows what iptables-wrappers does: hint chains win, then the side with more rules, then nft. `save`
// returns everything that one mode's iptables-save prints, or false where that mode does not work on this kernel.
func detect(save func(Mode) ([]byte, bool)) Mode {
	nft, nftWorks := save(NFT)
	legacy, legacyWorks := save(Legacy)
	switch {
	case !nftWorks && legacyWorks:
		return Legacy
	case !legacyWorks:
		return NFT
	case hinted(nft):
		return NFT
	case hinted(legacy):
		return Legacy
	case rules(legacy) > rules(nft):
		return Legacy
	default:
		return NFT
	}
}

func hinted(saved []byte) bool {
	for _, hint := range hints {
		if bytes.Contains(saved, hint) {
			return true
		}
	}
	return false
}

// rules counts the lines that add a rule.
func rules(saved []byte) int {
	count := 0
	for line := range bytes.Lines(saved) {
		if bytes.HasPrefix(line, []byte("-A")) {
			count++
		}
	}
	return count
}

// save runs iptables-save and ip6tables-save of one mode. The legacy ones are not run where the kernel has no legacy
// table: running them would create empty tables.
func save(mode Mode) ([]byte, bool) {
	var out bytes.Buffer
	works := false
	for _, family := range []struct{ tool, tables string }{
		{"iptables-save", "/proc/net/ip_tables_names"},
		{"ip6tables-save", "/proc/net/ip6_tables_names"},
	} {
		if mode == Legacy {
			names, err := os.ReadFile(family.tables)
			if err != nil {
				continue
			}
			works = true
			if len(names) == 0 {
				continue
			}
		}
		command := exec.Command(filepath.Join(Directory, string(mode), family.tool))
		command.Stdout = &out
		works = command.Run() == nil || works && mode == Legacy
	}
	return out.Bytes(), works
}
