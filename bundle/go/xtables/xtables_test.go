package xtables

import "testing"

func TestDetect(t *testing.T) {
	const none, broken = "", "broken"
	for name, test := range map[string]struct {
		nft, legacy string
		want        Mode
	}{
		"nothing anywhere":          {none, none, NFT},
		"rules in nft":              {"-A INPUT\n-A OUTPUT\n", "-A INPUT\n", NFT},
		"more rules in legacy":      {"-A INPUT\n", "-A INPUT\n-A OUTPUT\n", Legacy},
		"as many on both sides":     {"-A INPUT\n", "-A INPUT\n", NFT},
		"a hint in nft wins":        {":KUBE-IPTABLES-HINT - [0:0]\n", "-A a\n-A b\n-A c\n", NFT},
		"a hint in legacy wins":     {"-A a\n-A b\n-A c\n", ":KUBE-KUBELET-CANARY - [0:0]\n", Legacy},
		"nft absent from kernel":    {broken, none, Legacy},
		"legacy absent from kernel": {none, broken, NFT},
		"neither":                   {broken, broken, NFT},
	} {
		got := detect(func(mode Mode) ([]byte, bool) {
			text := test.nft
			if mode == Legacy {
				text = test.legacy
			}
			return []byte(text), text != broken
		})
		if got != test.want {
			t.Errorf("%s: got %s, want %s", name, got, test.want)
		}
	}
}
