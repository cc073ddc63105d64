# ECS's own image of Amazon Linux 2023, with krun: a second stage, so that nothing of ECS's recipe has to be kept up.
#
#     packer init packaging/ecs/ami
#     packer build -var rpm=target/packages/kontain-krun-0.1.0-1.x86_64.rpm packaging/ecs/ami

variable "rpm" {
  type        = string
  description = "The package that `make packages` makes."
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
  ami_name        = "krun-ecs-al2023-${local.stamp}"
  ami_description = "ECS on Amazon Linux 2023, with krun as docker's default runtime"
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
      name                = "al2023-ami-ecs-hvm-2023.*-x86_64"
      architecture        = "x86_64"
      root-device-type    = "ebs"
      virtualization-type = "hvm"
    }
    most_recent = true
    owners      = ["amazon"]
  }

  tags = {
    "kontain.app/image" = "ecs"
    base                = "{{ .SourceAMI }}"
  }

  snapshot_tags = {
    "kontain.app/image" = "ecs"
  }
}

build {
  sources = ["source.amazon-ebs.krun"]

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
