# EKS's own image of Amazon Linux 2023, with krun: a second stage, so that nothing of EKS's recipe has to be kept up.
#
#     packer init packaging/eks/ami
#     packer build -var kubernetes_version=1.35 -var rpm=target/packages/kontain-krun-0.1.0-1.x86_64.rpm packaging/eks/ami

variable "rpm" {
  type        = string
  description = "The package that `make packages` makes."
}

variable "kubernetes_version" {
  type        = string
  description = "The cluster's, such as 1.35."
}

variable "region" {
  type    = string
  default = "us-east-1"
}

variable "subnet_id" {
  type        = string
  default     = ""
  description = "Empty: the default VPC's."
}

# The machine that builds runs no guest, so it needs no nested virtualisation.
variable "instance_type" {
  type    = string
  default = "c5.large"
}

variable "ssh_from" {
  type        = string
  default     = "0.0.0.0/0"
  description = "From where the machine that builds is reached, by a key made for it: better your own address, as 192.0.2.7/32."
}

locals {
  stamp = formatdate("YYYYMMDDhhmmss", timestamp())
}

source "amazon-ebs" "krun" {
  ami_name        = "krun-eks-al2023-${var.kubernetes_version}-${local.stamp}"
  ami_description = "EKS ${var.kubernetes_version} on Amazon Linux 2023, with krun"
  region          = var.region
  subnet_id       = var.subnet_id
  instance_type   = var.instance_type
  ssh_username    = "ec2-user"
  ssh_interface   = "public_ip"

  # Not every subnet gives a machine an address, and the image must not let in who has built it.
  associate_public_ip_address           = true
  temporary_security_group_source_cidrs = [var.ssh_from]
  ssh_clear_authorized_keys             = true

  source_ami_filter {
    filters = {
      name                = "amazon-eks-node-al2023-x86_64-standard-${var.kubernetes_version}-v*"
      architecture        = "x86_64"
      root-device-type    = "ebs"
      virtualization-type = "hvm"
    }
    most_recent = true
    owners      = ["amazon"]
  }

  tags = {
    "kontain.app/image"   = "eks"
    "kontain.app/runtime" = "krun"
    kubernetes            = var.kubernetes_version
    base                  = "{{ .SourceAMI }}"
  }

  snapshot_tags = {
    "kontain.app/image" = "eks"
  }
}

build {
  sources = ["source.amazon-ebs.krun"]

  # nodeadm runs at the first boot, not in the machine that builds: its user data has no cluster.
  provisioner "shell" {
    inline = ["mkdir -p /tmp/krun"]
  }

  provisioner "file" {
    source      = var.rpm
    destination = "/tmp/krun/kontain-krun.x86_64.rpm"
  }

  provisioner "file" {
    sources     = ["${path.root}/provision", "${path.root}/../install-node"]
    destination = "/tmp/krun/"
  }

  provisioner "shell" {
    inline = ["sudo bash /tmp/krun/provision", "rm -rf /tmp/krun"]
  }
}
